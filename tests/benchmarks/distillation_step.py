"""What the teacher costs in the training step: nothing when its logits are cached.

    python -m tests.benchmarks.distillation_step [--quick] [--students vit_tiny_patch16_224 resnet18]
    python -m tests.benchmarks.distillation_step --maps [--quick] [--students vit_small_patch14_dinov2]

One epoch is trained (1) on labels alone, (2) with cached teacher logits, (3) with the teacher, a ViT-S at the same
224 px, answering in every step. All three run the project's own lessons and Trainer on the same JPEG
pictures with 1000 classes; decoded pictures are kept between epochs, so decoding does not hide what differs.

Seconds say more about the machine than about the code, so the budgets are ratios of CPU time (one torch thread) within
a round, the three taking turns, and the median over rounds:

- cached / plain at most 1.05: reading logits, the divergence and the check of thumbnails are next to nothing;
- online / cached at least 2 for a ViT-Ti: what the cache saves, and the proof that (2) has no hidden teacher. The
  teacher's forward against the student's forward and backward decides this number: it is larger for a larger teacher,
  and smaller for a student that costs more, so for other students it is told without a budget.

With `--maps` the students segment: 150 classes at 518 px, where a ViT-S/14 has 37 x 37 tokens, as many as the maps have
cells that teach it, views that leave their images, and a batch of 16 in parts of 4, as all 16 at once need 10 GB. No
teacher runs there:

- cached / plain at most 1.10. What is more than in plain finetuning is the divergence of 150 classes in each cell, on
  the finer of the two grids: a convolutional student with a pyramid (`--inputs last4`) has twelve times the cells;
- reading maps, checksums and all, at most 0.02 of the step.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.models.device import keep_freed_memory
from taskdistill.tasks.problems.problem import problem_named
from tests.benchmarks import taught_images
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import processor_seconds_of

AT_MOST_CACHED, AT_LEAST_ONLINE = 1.05, 2.0
TEACHER = "vit_small_patch16_224"
STUDENT = "vit_tiny_patch16_224"
AT_MOST_MAPS, AT_MOST_READING = 1.10, 0.02
MAP_STUDENT, MAP_SIDE_PX = "vit_small_patch14_dinov2", 518
MAP_BATCH, MAP_PART = 16, 4


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--students", nargs="+", help="timm names")
    options.add_argument("--images", type=int, help="64, or 16 where students segment: an epoch")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--maps", action="store_true", help="students that segment")
    options.add_argument("--inputs", choices=("last", "last4"), default="last", help="what the head of one sees")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if arguments.maps:
        finish("One epoch of segmentation", map_rows(arguments), as_json=arguments.json)
    num_images, rounds = (16, 3) if arguments.quick else (arguments.images or 64, arguments.rounds)
    rows: list[Row] = []
    for student in arguments.students or [STUDENT]:
        with tempfile.TemporaryDirectory() as folder:
            rows += ratios(student, cpu_seconds(student, Path(folder), num_images, rounds), num_images)
    finish("One epoch of training", rows, as_json=arguments.json)


def cpu_seconds(student: str, folder: Path, num_images: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each round's epoch, by way of training."""
    training = TrainingSettings(epochs=1, batch_size=min(16, num_images // 2))
    runtime = RuntimeConfig(device="cpu", workers=1)
    model, teacher = taught_images.network(student), taught_images.network(TEACHER).eval()
    taught = taught_images.write(folder, num_images=num_images, preprocessing=model.preprocessing, runtime=runtime)
    lessons = {
        "plain": taught_images.plain(taught, model, training),
        "cached": taught_images.cached(taught, model, training),
        "online": taught_images.online(taught, model, training, teacher),
    }
    epochs = {
        name: partial(taught_images.train, model, lesson, training, folder, runtime) for name, lesson in lessons.items()
    }
    return in_turns(epochs, rounds)


def in_turns(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each run in each round, in which they take turns in every order."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    orders = itertools.cycle(itertools.permutations(runs))
    for order in itertools.islice(orders, rounds + 1):
        for name in order:
            found[name].append(processor_seconds_of(runs[name]))
    # The first round decodes the pictures, loads the view and warms the allocator.
    return {name: seconds[1:] for name, seconds in found.items()}


def ratios(student: str, found: dict[str, list[float]], num_images: int) -> list[Row]:
    at_least = AT_LEAST_ONLINE if student == STUDENT else None
    return [
        *times(student, found, num_images),
        Row(f"{student}, cached / plain", ratio(found, "cached", "plain"), at_most=AT_MOST_CACHED),
        Row(f"{student}, online / cached", ratio(found, "online", "cached"), at_least=at_least),
    ]


def times(student: str, found: dict[str, list[float]], num_images: int) -> list[Row]:
    return [
        Row(f"{student}, {name}", 1000 * statistics.median(seconds) / num_images, "CPU ms an image")
        for name, seconds in found.items()
    ]


def ratio(found: dict[str, list[float]], name: str, to: str) -> float:
    return statistics.median(one / other for one, other in zip(found[name], found[to], strict=True))


def map_rows(arguments: argparse.Namespace) -> list[Row]:
    """Return what distilling from maps costs students that segment; an epoch is one batch."""
    num_images, rounds = (2, 4) if arguments.quick else (arguments.images or MAP_BATCH, arguments.rounds)
    rows: list[Row] = []
    for student in arguments.students or [MAP_STUDENT]:
        with tempfile.TemporaryDirectory() as folder:
            found, reading = map_seconds(student, arguments.inputs, Path(folder), num_images, rounds)
        rows += [
            *times(student, found, num_images),
            Row(f"{student}, cached / plain", ratio(found, "cached", "plain"), at_most=AT_MOST_MAPS),
            Row(f"{student}, reading / cached", reading / statistics.median(found["cached"]), at_most=AT_MOST_READING),
        ]
    return rows


def map_seconds(
    student: str, inputs: str, folder: Path, num_images: int, rounds: int
) -> tuple[dict[str, list[float]], float]:
    """Return the CPU seconds of each round's epoch, and those of reading its maps for the first time."""
    problem, runtime = problem_named("segmentation"), RuntimeConfig(device="cpu", workers=1)
    parts = max(1, num_images // MAP_PART)
    training = TrainingSettings(epochs=1, batch_size=num_images, accumulate=parts)
    model = taught_images.network(student, problem, MAP_SIDE_PX, inputs)
    made = {"num_images": num_images, "preprocessing": model.preprocessing, "runtime": runtime}
    taught = taught_images.write(folder, output_shape=taught_images.MAPS, views=taught_images.PADDED_VIEWS, **made)
    plain, cached = (made(taught, model, training, problem) for made in (taught_images.plain, taught_images.cached))
    lessons = {"plain": plain, "cached": cached}
    epochs = {
        name: partial(taught_images.train, model, lesson, training, folder, runtime) for name, lesson in lessons.items()
    }
    reading = processor_seconds_of(lambda: cached.draw(0))
    return in_turns(epochs, rounds), reading


if __name__ == "__main__":
    main()
