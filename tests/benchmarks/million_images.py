"""What a large job costs, on paper: 10^6 images, ViT-g/14 teaches ViT-S/14 at 224 px, on 8 and on 64 GPUs.

    python -m tests.benchmarks.million_images [--views 9] [--classes 1000] [--epochs 30] [--students 1]

Nothing is measured. Operations are two for each parameter and token of a transformer (1,136 M and 22 M parameters, 257
tokens) and three times as many where it learns; a GPU is taken to do so many of them a second in bf16 (an H100 reaches
400 of its 990 teraflops in such networks), and a core to decode and cut 190 views a second (5.3 ms, as
tests/benchmarks/worker_processes.py measures), 16 cores beside each GPU; whichever is slower counts. Bytes and files
are those of the layout in which the store keeps arrays.
"""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.shown_views import SHOWN_BYTES
from taskdistill.storage.view_arrays import gathered_rows_per_chunk, rows_per_chunk
from tests.benchmarks.report import parser

NUM_IMAGES, NUM_HELD_OUT, GPUS = 1_000_000, 50_000, (8, 64)
TOKENS, TEACHER_WIDTH, TEACHER_PARAMETERS, STUDENT_PARAMETERS = 257, 1536, 1_136e6, 22e6
CORES_PER_GPU, VIEWS_OF_A_CORE = 16, 190.0
PROBE_STEPS, PROBE_BATCH, PROBE_HEADS = 5000, 256, 13


class Work(NamedTuple):
    """One step of the run: images that go through a network, operations of each, and what it leaves on the disk."""

    name: str
    num_views: int
    operations: float
    """Of a view; 0 where the time is not of the GPUs."""
    is_cut: bool = True
    """Whether pixels are decoded and cut for it."""
    row_numbers: int = 0
    """Half-precision numbers that are kept of each view."""
    at_once: int = 1
    """Others like it, which run beside it."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--views", type=int, default=9, help="augmented views of a training image")
    options.add_argument("--classes", type=int, default=1000)
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--students", type=int, default=1)
    options.add_argument("--teraflops", type=float, default=400.0, help="that a GPU does a second")
    arguments = options.parse_args()
    shown = NUM_IMAGES * arguments.views + NUM_HELD_OUT
    forward = 2 * TOKENS * TEACHER_PARAMETERS
    learning = 3 * 2 * TOKENS * STUDENT_PARAMETERS
    works = [
        Work("extract, teacher", shown, forward, row_numbers=TEACHER_WIDTH),
        Work("extract, student", shown, learning / 3, row_numbers=384),
        Work("probe", PROBE_STEPS * PROBE_BATCH, 6 * PROBE_HEADS * TEACHER_WIDTH * arguments.classes, is_cut=False),
        Work("precompute", shown, 2 * TEACHER_WIDTH * arguments.classes, is_cut=False, row_numbers=arguments.classes),
        Work("distill, cached", NUM_IMAGES * arguments.epochs, learning, at_once=arguments.students),
        Work("the same, teacher online", NUM_IMAGES * arguments.epochs, learning + forward, at_once=arguments.students),
    ]
    table = Table("step", "views", "on disk", "files", *(f"hours on {gpus} GPUs" for gpus in GPUS))
    for work in works:
        hours = [f"{hours_of(work, gpus, arguments.teraflops):.2f}" for gpus in GPUS]
        table.add_row(work.name, f"{work.num_views:,}", *on_disk(work, arguments.views), *hours)
    Console().print(table)


def hours_of(work: Work, num_gpus: int, teraflops: float) -> float:
    """Return how long a step takes, spread evenly, and its like beside it."""
    by_gpus = work.num_views * work.operations / (teraflops * 1e12)
    by_cores = work.num_views / (CORES_PER_GPU * VIEWS_OF_A_CORE) if work.is_cut else 0.0
    return work.at_once * max(by_gpus, by_cores) / num_gpus / 3600


def on_disk(work: Work, num_views: int) -> tuple[str, str]:
    """Return the bytes and the files of what a step keeps: of augmented views of the images that teach, and of the
    clean one of the others.
    """
    if not work.row_numbers:
        return "", ""
    num_bytes, num_files = 0, 0
    for num_rows, views in ((NUM_IMAGES, num_views), (NUM_HELD_OUT, 1)):
        num_bytes += num_rows * views * (2 * work.row_numbers + SHOWN_BYTES)
        num_files += views * -(-num_rows // rows_per_chunk(num_rows, (work.row_numbers,)))
        num_files += -(-num_rows // gathered_rows_per_chunk(num_rows, views))
    return bytes_in_words(num_bytes), f"{num_files:,}"


if __name__ == "__main__":
    main()
