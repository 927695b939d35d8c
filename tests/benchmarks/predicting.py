"""What predicting costs beside the network and decoding, and how much memory it takes.

    python -m tests.benchmarks.predicting [--quick]

10,000 JPEG files of 64 px go through MobileNetV2 0.35 at 64 px, as `taskdistill predict` does it: files listed, decoded
and cut by two threads, answered, and written as CSV. Compared with it is the bare work: the same files read, decoded,
cut and shown to the same network by the same threads, and nothing told of them. Both in one process, by turns; what
counts is processor time, as a busy machine stretches the rest. The peak of memory is that of the whole command in a
process of its own, torch and timm included (about 380 MB before the first image).
"""

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.deploy.ready import IMAGES_AT_ONCE
from taskdistill.tasks.deploy.sources import listed
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

RATIO_BUDGET, MEMORY_BUDGET_MB = 1.2, 500
SIDE_PX, NUM_CLASSES = 64, 25
NETWORK = Backbone(name="mobilenetv2_035", weights="random", input_px=SIDE_PX)
RUNTIME = RuntimeConfig(device="cpu", workers=2, threads=1, inference_batch_size=IMAGES_AT_ONCE)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--child", choices=("times", "command"), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--repeats", type=int, default=3, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        {"times": tell_times, "command": tell_memory}[arguments.child](arguments.folder, arguments.repeats)
        return
    num_images = 1_000 if arguments.quick else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_class_folders(folder / "images", count=num_images, side_px=SIDE_PX)
        found = {child: in_a_process(child, folder, arguments.repeats) for child in ("times", "command")}
    times, memory = found["times"], found["command"]
    rows = [
        Row("images", num_images),
        Row("bare, processor", 1e3 * times["bare"] / num_images, "ms an image"),
        Row("predict, processor", 1e3 * times["predict"] / num_images, "ms an image"),
        Row("predict / bare, processor", times["predict"] / times["bare"], at_most=RATIO_BUDGET),
        Row("predict / bare, wall", times["predict, wall"] / times["bare, wall"]),
        Row("peak memory", memory["MB"], "MB", at_most=MEMORY_BUDGET_MB),
    ]
    finish(f"predicting {num_images} images of {SIDE_PX} px", rows, as_json=arguments.json)


def in_a_process(child: str, folder: Path, repeats: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.predicting", "--child", child, "--folder", str(folder)]
    done = subprocess.run([*command, "--repeats", str(repeats)], check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def tell_times(folder: Path, repeats: int) -> None:
    from taskdistill.tasks.data.decode import decode_rgb
    from taskdistill.tasks.data.threads import prefetch
    from taskdistill.tasks.deploy.deployable import Deployable
    from taskdistill.tasks.deploy.predicting import Predictor
    from taskdistill.tasks.deploy.ready import Ready, Wish
    from taskdistill.tasks.models.device import device_of
    from tests.untrained import commit_model

    store = ArtifactStore(folder / "store")
    model = commit_model(store, NETWORK, [f"class {number}" for number in range(NUM_CLASSES)])
    predictor = Predictor(Ready.of(store, model, Wish()), RUNTIME)
    deployable, size = Deployable.load(store.path(model), device_of(RUNTIME)), RUNTIME.inference_batch_size
    files = [image.file for image in listed([str(folder / "images")]).images]

    def bare() -> None:
        def load(part: list[Path]) -> np.ndarray:
            return np.stack([deployable.shown(decode_rgb(file.read_bytes())) for file in part])

        parts = [files[start : start + size] for start in range(0, len(files), size)]
        for shown_NST3 in prefetch(load, parts, workers=RUNTIME.workers):
            deployable.outputs(shown_NST3)

    def predict(number: int) -> None:
        predictor.write(listed([str(folder / "images")]).images, folder / f"said{number}.csv")

    bare()  # the files are in the page cache, the network is warm
    pairs = [(timed(bare), timed(functools.partial(predict, number))) for number in range(repeats)]
    of_bare, of_predict = zip(*pairs, strict=True)
    told = {"bare": of_bare, "predict": of_predict}
    medians = {name: statistics.median(processor for processor, _ in found) for name, found in told.items()}
    walls = {f"{name}, wall": statistics.median(wall for _, wall in found) for name, found in told.items()}
    print(json.dumps(medians | walls))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of processor and of the clock that some work takes."""
    began = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - began[0], time.perf_counter() - began[1]


def tell_memory(folder: Path, repeats: int) -> None:
    """Run the command in this process's place, and tell its peak."""
    from taskdistill.flows.cli import app

    os.environ["TASKDISTILL_STORE"] = str(folder / "store")
    (model,) = ArtifactStore(folder / "store").references("model")
    to = ["--output", str(folder / "command.csv"), "--set", "runtime.device=cpu", "--set", "runtime.threads=1"]
    app(["predict", str(model), str(folder / "images"), *to], standalone_mode=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"MB": peak * 1024 / 1e6}))


if __name__ == "__main__":
    main()
