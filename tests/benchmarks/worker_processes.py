"""What cutting views costs by threads and by worker processes, and how many images a second 16 cores would give.

    REAL_DATA_DIR=... python -m tests.benchmarks.worker_processes [--quick]

The photographs of clothing10, each decoded and cut at 224 px in batches of 64, as a first epoch does: by threads, and
by worker processes, in turns, each round anew. CPU time an image is told for all processes together, and of it what the
process spends that hands out and collects: what a network must share its interpreter with. What is
said of 16 cores is arithmetic and no measurement: 15 cores cut, one hands out.

Measured on two cores that other programs used as well, by two processes, with simplejpeg: threads 5.3 ms of CPU an
image, processes 5.5 ms, of which 0.20 ms where it is handed out; with `views.resize: torch` 4.3 ms and 0.21 ms. On
paper 16 cores give 2,800 and 3,600 images a second, and no number of cores above 5,000, where handing out fills one.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.models.device import keep_freed_memory
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.stage import execute
from tests.benchmarks.report import Row, finish, parser

CUT = Preprocessing(224, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.875, "center")
VIEWS = ViewSettings(num_views=8)
BATCH, WORKERS, CORES = 64, 2, 16


class Cost(NamedTuple):
    """Of one image, in milliseconds."""

    clock: float
    here: float
    """Of the processor, in the process that hands out."""
    elsewhere: float


def main() -> None:
    arguments = parser(__doc__).parse_args()
    rounds = 2 if arguments.quick else 5
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder) / "store")
        runtime = RuntimeConfig(device="cpu", workers=WORKERS)
        ref = execute(
            INGEST, IngestConfig(path=f"{os.environ['REAL_DATA_DIR']}/clothing10"), {}, store=store, runtime=runtime
        )
        images = ImageSet.open(store.path(ref))
        by_processes = runtime.model_copy(update={"loading": "processes"})
        by_torch = VIEWS.model_copy(update={"resize": "torch"})
        sources = {
            "threads": view_source(images, VIEWS, CUT, runtime),
            "processes": view_source(images, VIEWS, CUT, by_processes),
            "processes, resize: torch": view_source(images, by_torch, CUT, by_processes),
        }
        costs = {name: list[Cost]() for name in sources}
        for number in range(1 + rounds):
            for name, source in sources.items():
                costs[name].append(epoch(source, view=1 + number % VIEWS.num_views))
    finish("Decoding and cutting, an image", rows_of(costs), as_json=arguments.json)


def epoch(source: ViewSource, *, view: int) -> Cost:
    """Cut one view of each image."""
    parts = np.array_split(np.random.default_rng(view).permutation(len(source.images)), len(source.images) // BATCH)

    def load(part: np.ndarray) -> int:
        rows = part.tolist()
        return len(source.cut(rows, source.views(rows, [view] * len(rows))))

    began, here, elsewhere = time.perf_counter(), time.process_time(), of_children()
    count = sum(prefetch(load, parts, workers=WORKERS))
    spent = time.perf_counter() - began, time.process_time() - here, of_children() - elsewhere
    return Cost(*(1000 * seconds / count for seconds in spent))


def of_children() -> float:
    """Return the CPU seconds that living child processes have spent so far."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def rows_of(costs: dict[str, list[Cost]]) -> list[Row]:
    def median(name: str, of: Callable[[Cost], float]) -> float:
        return statistics.median(map(of, costs[name][1:]))  # in the first round processes start

    rows = []
    for name in costs:
        rows.append(Row(f"{name}: clock", median(name, lambda cost: cost.clock), "ms"))
        rows.append(Row(f"{name}: CPU, all processes", median(name, lambda cost: cost.here + cost.elsewhere), "ms"))
        if name == "threads":
            continue
        here, elsewhere = median(name, lambda cost: cost.here), median(name, lambda cost: cost.elsewhere)
        rows.append(Row(f"{name}: CPU of the one that hands out", here, "ms"))
        on_paper = 1000 * min((CORES - 1) / elsewhere, 1 / here)
        rows.append(Row(f"{name}: {CORES} cores, on paper", on_paper, "images/s"))
    return rows


if __name__ == "__main__":
    main()
