"""What it costs to read one image of an image-set in a shuffled epoch, over reading a plain file of the same size.

    python -m tests.benchmarks.image_read [--quick]

4,000 images of 28 KB in 20 shards are read in a random order, and as many files; processor time, in turns, all of it in
the page cache. So is what looking at an unchanged folder of 20,000 files costs, as every command does before it begins.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.sources import SourceDigests
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import processor_seconds_of

NUM_SHARDS, SIZE, TURNS = 20, 28 * 1024, 5
READS_BUDGET = 3.0
LOOK_BUDGET_US = 10.0


def main() -> None:
    arguments = parser(__doc__).parse_args()
    per_shard, num_files = (20, 1_000) if arguments.quick else (200, 20_000)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        image, file = reading(folder, per_shard)
        look = looking(folder, num_files)
    rows = [
        Row("one image", image, "us"),
        Row("one file", file, "us"),
        Row("image / file", image / file, at_most=READS_BUDGET),
        Row("looking at an unchanged file", look, "us", at_most=LOOK_BUDGET_US),
    ]
    finish("Reading", rows, as_json=arguments.json)


def reading(folder: Path, per_shard: int) -> tuple[float, float]:
    """Return the median microseconds of an image and of a file."""
    rng = np.random.default_rng(0)
    (folder / "files").mkdir()
    for shard in range(NUM_SHARDS):
        rows = [ImageRow(f"{shard:02d}-{number:03d}", rng.bytes(SIZE), 1, 1, "train", 0) for number in range(per_shard)]
        write_shard(folder / "set", shard, rows)
        for row in rows:
            (folder / "files" / row.id).write_bytes(row.image)
    write_index(folder / "set", classes=["one"], num_shards=NUM_SHARDS)
    images = ImageSet.open(folder / "set")
    order = rng.permutation(len(images)).tolist()

    def plain(row: int) -> bytes:
        return (folder / "files" / images.ids[row]).read_bytes()

    ways: tuple[Callable[[int], bytes], ...] = (images.image, plain)
    turns = [[processor_seconds_of(lambda way=way: [way(row) for row in order]) for way in ways] for _ in range(TURNS)]
    image, file = (statistics.median(of_way) / len(order) * 1e6 for of_way in zip(*turns, strict=True))
    return image, file


def looking(folder: Path, num_files: int) -> float:
    """Return the median microseconds of each file of a folder whose digest is known."""
    for number in range(num_files):
        place = folder / "folder" / f"class {number % 20}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06d}.jpg").write_bytes(b"%d" % number)
    digests = SourceDigests(folder / "digests")
    digests.digest(str(folder / "folder"))
    turns = [processor_seconds_of(lambda: digests.digest(str(folder / "folder"))) for _ in range(TURNS)]
    return statistics.median(turns) / num_files * 1e6


if __name__ == "__main__":
    main()
