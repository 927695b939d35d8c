"""What the teacher costs in the training step: nothing when its logits are cached.

    python -m tests.benchmarks.distillation_step [--quick] [--students vit_tiny_patch16_224 resnet18]

One epoch is trained (1) on labels alone, (2) with cached teacher logits, (3) with the teacher, a ViT-S at the same
224 px, answering in every step. All three run the project's own lessons and Trainer on the same JPEG
pictures with 1000 classes; decoded pictures are kept between epochs, so decoding does not hide what differs.

Seconds say more about the machine than about the code, so the budgets are ratios of CPU time (one torch thread) within
a round, the three taking turns, and the median over rounds:

- cached / plain at most 1.05: reading logits, the divergence and the check of thumbnails are next to nothing;
- online / cached at least 2 for a ViT-Ti: what the cache saves, and the proof that (2) has no hidden teacher. The
  teacher's forward against the student's forward and backward decides this number: it is larger for a larger teacher,
  and smaller for a student that costs more, so for other students it is told without a budget.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from configs.base import RuntimeConfig
from configs.training import TrainingSettings
from tasks.models.device import keep_freed_memory
from tests.benchmarks import taught_images
from tests.benchmarks.report import Row, finish, parser

AT_MOST_CACHED, AT_LEAST_ONLINE = 1.05, 2.0
TEACHER = "vit_small_patch16_224"
STUDENT = "vit_tiny_patch16_224"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--students", nargs="+", default=[STUDENT], help="timm names")
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--rounds", type=int, default=7)
    arguments = options.parse_args()
    num_images, rounds = (16, 3) if arguments.quick else (arguments.images, arguments.rounds)
    torch.set_num_threads(1)
    keep_freed_memory()
    rows: list[Row] = []
    for student in arguments.students:
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
    found: dict[str, list[float]] = {name: [] for name in lessons}
    orders = itertools.cycle(itertools.permutations(lessons))
    for order in itertools.islice(orders, rounds + 1):
        for name in order:
            epoch = lambda name=name: taught_images.train(model, lessons[name], training, folder, runtime)  # noqa: E731
            found[name].append(seconds_of(epoch))
    # The first round decodes the pictures, loads the view and warms the allocator.
    return {name: seconds[1:] for name, seconds in found.items()}


def seconds_of(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def ratios(student: str, found: dict[str, list[float]], num_images: int) -> list[Row]:
    def ratio(name: str, to: str) -> float:
        return statistics.median(one / other for one, other in zip(found[name], found[to], strict=True))

    at_least = AT_LEAST_ONLINE if student == STUDENT else None
    return [
        *(
            Row(f"{student}, {name}", 1000 * statistics.median(seconds) / num_images, "CPU ms an image")
            for name, seconds in found.items()
        ),
        Row(f"{student}, cached / plain", ratio("cached", "plain"), at_most=AT_MOST_CACHED),
        Row(f"{student}, online / cached", ratio("online", "cached"), at_least=at_least),
    ]


if __name__ == "__main__":
    main()
