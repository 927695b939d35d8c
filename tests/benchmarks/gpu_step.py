"""How many images a second a training takes on a GPU, and what is missing to what the GPU could take.

    python -m tests.benchmarks.gpu_step [--quick] [--students resnet18 vit_tiny_patch16_224] [--workers 15]

The same training on labels alone, with cached teacher logits, and with the teacher (a ViT-S at 224 px) answering in
every step, in bfloat16 and batches of 256. Pictures of 256 px are decoded and cut anew for every view, as where there
are more than memory holds: by threads of this process, and by worker processes. The floor is the optimiser step of the
bare network on pixels that lie on the GPU. Times are those of the clock, as a GPU has no other, medians of rounds in
which all take turns.

- cached / plain at most 1.05: the teacher's answers come for nothing on a GPU too.

Needs a GPU, and a core for each worker.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.models.device import autocast, keep_freed_memory, on_device
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.training.lesson import Lesson
from taskdistill.tasks.training.parameters import freeze_batchnorm
from tests.benchmarks import taught_images
from tests.benchmarks.report import Row, finish, parser

AT_MOST_CACHED = 1.05
TEACHER, STUDENTS = "vit_small_patch16_224", ("resnet18", "vit_tiny_patch16_224")
BATCH = 256
GPU = torch.device("cuda")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--students", nargs="+", default=STUDENTS, help="timm names")
    options.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    arguments = options.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU, and what is measured here is one")
    keep_freed_memory()
    rows = [row for student in arguments.students for row in rows_of(student, arguments)]
    finish(f"A training on {torch.cuda.get_device_name()}", rows, as_json=arguments.json)


def rows_of(student: str, arguments: argparse.Namespace) -> list[Row]:
    epochs, num_images, rounds = (2, 512, 2) if arguments.quick else (6, 2048, 5)
    training = TrainingSettings(epochs=epochs, batch_size=BATCH, precision="bf16")
    with tempfile.TemporaryDirectory() as folder:
        runs = trainings(student, training, num_images, Path(folder), arguments.workers)
        seconds = {name: list[float]() for name in runs}
        for _ in range(rounds + 1):
            for name, run in runs.items():
                seconds[name].append(seconds_of(run))
    # The first round starts processes and lets cuDNN choose.
    found = {name: epochs * num_images / statistics.median(times[1:]) for name, times in seconds.items()}
    rows = [Row(f"{student}, {name}", rate, "images/s") for name, rate in found.items()]
    for loading in ("threads", "processes"):
        ratio = found[f"plain, {loading}"] / found[f"cached, {loading}"]
        rows.append(Row(f"{student}, cached / plain, {loading}", ratio, at_most=AT_MOST_CACHED))
    return rows


def trainings(
    student: str, training: TrainingSettings, num_images: int, folder: Path, workers: int
) -> dict[str, Callable[[], object]]:
    """Return each way to train so many epochs, by its name."""
    model = on_device(taught_images.network(student), GPU)
    teacher = on_device(taught_images.network(TEACHER), GPU).eval()
    runtime = RuntimeConfig(device="cuda", workers=workers, image_cache_mb=0)
    taught = taught_images.write(
        folder,
        num_images=num_images,
        preprocessing=model.preprocessing,
        runtime=runtime.model_copy(update={"device": "cpu"}),
    )
    runs: dict[str, Callable[[], object]] = {"floor": partial(bare_steps, model, training.epochs * num_images // BATCH)}
    for loading in ("threads", "processes"):
        how = runtime.model_copy(update={"loading": loading})
        cached = taught_images.cached(replace(taught, runtime=how), model, training)
        source = cached.real.source
        lessons: dict[str, Lesson[Any]] = {
            "plain": replace(taught_images.plain(taught, model, training), source=source),
            "cached": cached,
            "online": replace(taught_images.online(taught, model, training, teacher), source=source),
        }
        for name, lesson in lessons.items():
            runs[f"{name}, {loading}"] = partial(taught_images.train, model, lesson, training, folder, how)
    return runs


def bare_steps(model: TaskModel, number: int) -> None:
    """Take so many steps on one batch that lies on the GPU."""
    size = model.preprocessing.size
    images_NCHW = torch.randn(BATCH, 3, *size, device=GPU).contiguous(memory_format=torch.channels_last)
    labels_N = torch.zeros(BATCH, dtype=torch.int64, device=GPU)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    freeze_batchnorm(model.train())  # as the Trainer does
    for _ in range(number):
        optimizer.zero_grad()
        with autocast(GPU, "bf16"):
            loss = functional.cross_entropy(model(images_NCHW).float(), labels_N)
        loss.backward()
        optimizer.step()


def seconds_of(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
