"""What it costs to have everything on the disk before it counts.

    REAL_DATA_DIR=/path/to/data python -m tests.benchmarks.sync_cost [--quick]

`ingest` and `extract` (teacher and student) of the preset clothing10, each time in an empty store; with --quick the
set is the miniature of the other benchmarks, with a tiny network. Measured within each run: the part of its time in
which any thread waits for the disk (os.fsync), and the part in which the files of a commit are read back to prove
themselves. The first runs beside the network, so it is an upper bound. Comparing two runs would not do: on a machine
that does other things they differ by more than what is asked for here.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import taskdistill.storage.proof
from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EXTRACT, INGEST
from taskdistill.tasks.stage import Stage, execute
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

INGEST_BUDGET, EXTRACT_BUDGET = 0.10, 0.03

Span = tuple[float, float]


class Settings(NamedTuple):
    """What is run."""

    ingest: IngestConfig
    extracts: Sequence[ExtractConfig]
    runtime: RuntimeConfig


class Share(NamedTuple):
    """Parts of a stage's time."""

    waiting: float
    proving: float


def main() -> None:
    arguments = parser(__doc__).parse_args()
    waits, proofs = list[Span](), list[Span]()
    os.fsync = timed(os.fsync, waits)
    taskdistill.storage.proof.damage_of = timed(taskdistill.storage.proof.damage_of, proofs)
    with tempfile.TemporaryDirectory() as folder:
        settings = miniature(Path(folder)) if arguments.quick else clothing10()
        repeats = [
            run_all(settings, ArtifactStore(Path(folder) / f"store{number}"), waits, proofs)
            for number in range(1 if arguments.quick else 3)
        ]
    rows = []
    for name, limit in (("ingest", INGEST_BUDGET), ("extract", EXTRACT_BUDGET)):
        shares = [share for repeat in repeats for share in repeat[name]]
        rows.append(Row(f"{name}, waiting for the disk", statistics.median(s.waiting for s in shares), at_most=limit))
        rows.append(Row(f"{name}, reading back", statistics.median(s.proving for s in shares), at_most=limit))
    finish("Parts of a stage's time", rows, as_json=arguments.json)


def clothing10() -> Settings:
    experiment = load_experiment("clothing10")
    networks = [(experiment.teacher, experiment.probe), (experiment.student, experiment.student_probe)]
    extracts = [experiment.extract_config(model, probe, "augmented") for model, probe in networks]
    return Settings(experiment.data, extracts, experiment.runtime)


def miniature(folder: Path) -> Settings:
    pictures = write_class_folders(folder / "pictures", count=400, side_px=256)
    network = Backbone(name="test_vit", weights="random", input_px=224)
    extract = ExtractConfig(backbone=network, views=ViewSettings(num_views=1))
    return Settings(IngestConfig(path=str(pictures)), [extract], RuntimeConfig(device="cpu"))


def run_all(settings: Settings, store: ArtifactStore, waits: list[Span], proofs: list[Span]) -> dict[str, list[Share]]:
    def measured(stage: Stage[Any], config: StageConfig, inputs: dict[str, ArtifactRef]) -> tuple[ArtifactRef, Share]:
        waits.clear(), proofs.clear()
        began = time.perf_counter()
        ref = execute(stage, config, inputs, store=store, runtime=settings.runtime)
        seconds = time.perf_counter() - began
        return ref, Share(covered(waits) / seconds, covered(proofs) / seconds)

    images, ingest = measured(INGEST, settings.ingest, {})
    return {
        "ingest": [ingest],
        "extract": [measured(EXTRACT, config, {"images": images})[1] for config in settings.extracts],
    }


def timed(function: Callable[..., Any], spans: list[Span]) -> Callable[..., Any]:
    def noting(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spans.append((began, time.perf_counter()))

    return noting


def covered(spans: Sequence[Span]) -> float:
    """Return how long at least one of the spans lasted."""
    ends = itertools.accumulate((stop for _, stop in sorted(spans)), max, initial=0.0)
    return sum(max(stop - max(start, end), 0.0) for (start, stop), end in zip(sorted(spans), ends, strict=False))


if __name__ == "__main__":
    main()
