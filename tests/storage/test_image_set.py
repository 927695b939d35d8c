"""Encoded images in Parquet shards: everything comes back, one image is read for the price of one, damage is found."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from taskdistill.storage import image_cells, image_set
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import read_json
from taskdistill.storage.formats import UNFINISHED
from taskdistill.storage.image_cells import CELLS
from taskdistill.storage.image_set import ImageRow, ImageSet, Levels, shard_path, write_index, write_shard
from tests.storage.artifacts import flip_a_bit

KIB = 1024
not_counted = pytest.mark.skipif(
    not Path("/proc/thread-self/io").exists(), reason="the kernel does not count the bytes a thread reads"
)

THREE_ROWS = [
    ImageRow("robin/1.jpg", b"\xff\xd8 first", 480, 640, "train", 0, b"mask of 1"),
    ImageRow("robin/2.jpg", b"\xff\xd8 second", 20, 30, "val", 1),
    ImageRow("mix/3.png", b"\x89PNG third", 64, 65, "train", None, None, ["robin/1.jpg", "wren/9.jpg"], 2**40),
]


@pytest.fixture
def three_images(tmp_path: Path) -> Path:
    """Two shards: two photographs, and a synthetic image of two parents."""
    folder = tmp_path / "image-set" / ("a" * 64)
    write_shard(folder, 0, THREE_ROWS[:2])
    write_shard(folder, 1, THREE_ROWS[2:])
    write_index(folder, classes=["robin", "wren"], num_shards=2)
    return folder


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """60 images of 100 KiB that nothing could compress."""
    rng = np.random.default_rng(0)
    return [rng.bytes(100 * KIB) for _ in range(60)]


@pytest.fixture(scope="module")
def photograph_folder(photographs: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image-set")
    rows = [ImageRow(f"{number:03d}.jpg", data, 300, 400, "train", 0) for number, data in enumerate(photographs)]
    write_shard(folder, 0, rows[:40])
    write_shard(folder, 1, rows[40:])
    write_index(folder, classes=["bird"], num_shards=2)
    return folder


def open_files(folder: Path) -> list[Path]:
    """Those below `folder` that this process has open; files of other tests come and go meanwhile."""
    named = [entry.resolve() for entry in Path("/proc/self/fd").iterdir()]
    return [path for path in named if path.is_relative_to(folder.resolve())]


def bytes_read(whose: str) -> int:
    """What this process ("self") or this thread ("thread-self") has asked the kernel to read so far, in bytes."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{whose}/io").read_text().splitlines())
    return int(fields["rchar"])


def test_every_column_comes_back_as_it_was_written(three_images: Path):
    images = ImageSet.open(three_images)
    assert len(images) == 3
    assert images.classes == ["robin", "wren"]
    assert images.ids == ["robin/1.jpg", "robin/2.jpg", "mix/3.png"]
    assert images.splits.tolist() == ["train", "val", "train"]
    assert images.labels.tolist() == [0, 1, -1]
    assert images.heights.tolist() == [480, 20, 64]
    assert images.widths.tolist() == [640, 30, 65]
    assert images.parents == [None, None, ["robin/1.jpg", "wren/9.jpg"]]
    assert images.seeds == [None, None, 2**40]
    assert [images.image(row) for row in range(3)] == [b"\xff\xd8 first", b"\xff\xd8 second", b"\x89PNG third"]
    assert [images.mask(row) for row in range(3)] == [b"mask of 1", None, None]


def test_the_index_counts_images_splits_and_shards(three_images: Path):
    expected = {"images": 3, "splits": {"train": 2, "val": 1}, "classes": ["robin", "wren"], "shards": [2, 1]}
    assert read_json(three_images / "image-set.json") == expected


def test_the_scale_of_deep_images_stands_in_the_index_and_is_none_where_it_does_not(three_images: Path):
    assert ImageSet.open(three_images).levels is None
    write_index(three_images, classes=["robin", "wren"], num_shards=2, levels=Levels(-1000, 4095, 1.0))
    assert ImageSet.open(three_images).levels == Levels(-1000, 4095, 1.0)


def test_a_set_knows_its_fingerprint_and_the_rows_of_a_split(three_images: Path):
    images = ImageSet.open(three_images)
    assert images.fingerprint == "a" * 64
    assert images.rows_of("train").tolist() == [0, 2]
    assert images.rows_of("val", "train").tolist() == [0, 1, 2]
    assert images.rows_of("test").tolist() == []


def test_the_same_rows_give_the_same_bytes(three_images: Path, tmp_path: Path):
    write_shard(tmp_path / "again", 0, iter(THREE_ROWS[:2]))
    assert shard_path(tmp_path / "again", 0).read_bytes() == shard_path(three_images, 0).read_bytes()


def test_images_of_any_size_come_back_from_any_row(photographs: list[bytes], photograph_folder: Path):
    images = ImageSet.open(photograph_folder)
    for row in (0, 4, 5, 39, 40, 59, 3):
        assert images.image(row) == photographs[row]


def test_an_image_larger_than_a_row_group_is_kept_whole(tmp_path: Path):
    pictures = [bytes([number]) * size for number, size in enumerate((10, 900 * KIB, 700 * KIB, 10))]
    write_shard(tmp_path, 0, [ImageRow(str(i), data, 1, 1, "train") for i, data in enumerate(pictures)])
    write_index(tmp_path, classes=[], num_shards=1)
    images = ImageSet.open(tmp_path)
    assert [images.image(row) for row in range(4)] == pictures


@not_counted
def test_opening_a_set_reads_no_images(photograph_folder: Path):
    before = bytes_read("self")
    ImageSet.open(photograph_folder)
    assert bytes_read("self") - before < 300 * KIB  # of 6000


@not_counted
def test_reading_one_image_reads_its_bytes_alone(photograph_folder: Path):
    images = ImageSet.open(photograph_folder)
    before = bytes_read("thread-self")
    counting = bytes_read("thread-self") - before  # the counters are a file too
    for row in (17, 3, 38, 55):
        before = bytes_read("thread-self")
        images.image(row)
        assert bytes_read("thread-self") - before - counting == 100 * KIB


EIGHT_READERS = """
import sys, threading
from pathlib import Path
import numpy as np
from taskdistill.storage.image_set import ImageSet

images = ImageSet.open(Path(sys.argv[1]))
expected = [images.image(row) for row in range(60)]
images = ImageSet.open(Path(sys.argv[1]))
together = threading.Barrier(8)
right = []

def read_in_own_order(seed):
    rows = np.tile(np.random.default_rng(seed).permutation(60), 4)
    together.wait()
    right.append(sum(images.image(int(row)) == expected[row] for row in rows))

threads = [threading.Thread(target=read_in_own_order, args=(seed,)) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*right)
"""


def test_many_threads_read_at_the_same_time(photograph_folder: Path):
    """In a process of its own, because threads that share a reader crash it or wait for each other for ever."""
    command = [sys.executable, "-c", EIGHT_READERS, str(photograph_folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["240"] * 8


def test_images_of_more_shards_than_stay_open_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_cells, "OPEN_SHARDS", 2)
    pictures = [b"picture %d" % number for number in range(5)]
    for shard, data in enumerate(pictures):
        write_shard(tmp_path, shard, [ImageRow(str(shard), data, 1, 1, "train")])
    write_index(tmp_path, classes=[], num_shards=5)
    images = ImageSet.open(tmp_path)
    before = open_files(tmp_path)
    assert [images.image(row) for row in (0, 1, 2, 3, 4, 0, 3)] == [*pictures, pictures[0], pictures[3]]
    assert len(open_files(tmp_path)) == len(before) + 2


def test_files_are_closed_with_the_set_that_was_read(three_images: Path):
    images = ImageSet.open(three_images)
    assert images.image(0)
    assert open_files(three_images)
    del images
    gc.collect()
    assert not open_files(three_images)


def test_images_that_look_like_pages_and_lengths_are_found_where_they_lie(tmp_path: Path):
    """Each holds the bytes of the others, also with the length that stands before a value."""
    inner = b"\x05\x00\x00\x00image"
    pictures = [inner, b"image", b"\x09\x00\x00\x00" + inner + b"image", b"", b"image", b"\x00" * 4, b""]
    masks = [None, b"image", None, b"", inner, None, b"image"]
    both = enumerate(zip(pictures, masks, strict=True))
    rows = [ImageRow(str(number), picture, 1, 1, "train", mask=mask) for number, (picture, mask) in both]
    write_shard(tmp_path, 0, rows)
    write_index(tmp_path, classes=[], num_shards=1)
    images = ImageSet.open(tmp_path)
    assert [images.image(row) for row in range(7)] == pictures
    assert [images.mask(row) for row in range(7)] == masks


def test_a_set_that_does_not_say_where_its_images_lie_is_read_by_row_groups(
    three_images: Path, photographs: list[bytes], photograph_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image_set, "CELLS_SINCE", UNFINISHED + 1)
    (three_images / CELLS).unlink()
    images, large = ImageSet.open(three_images), ImageSet.open(photograph_folder)
    assert [images.image(row) for row in range(3)] == [row.image for row in THREE_ROWS]
    assert [images.mask(row) for row in range(3)] == [b"mask of 1", None, None]
    assert [large.image(row) for row in (0, 17, 39, 40, 59, 3)] == [photographs[row] for row in (0, 17, 39, 40, 59, 3)]


# --- damage --------------------------------------------------------------------------------------------------------


def everything_in(folder: Path) -> list[object]:
    images = ImageSet.open(folder)
    cells = [(images.image(row), images.mask(row)) for row in range(len(images))]
    table = [images.ids, images.splits.tolist(), images.labels.tolist(), images.heights.tolist()]
    return [*cells, *table, images.widths.tolist(), images.parents, images.seeds]


def test_a_flipped_bit_in_an_image_is_found_when_it_is_read_with_advice(three_images: Path):
    shard = shard_path(three_images, 0)
    flip_a_bit(shard, shard.read_bytes().index(b"second"))
    images = ImageSet.open(three_images)
    with pytest.raises(
        CorruptArtifactError, match=r"00000\.parquet is damaged .*taskdistill discard image-set@aaaaaaaaaaaa"
    ):
        images.image(1)
    assert images.image(2) == b"\x89PNG third"


@pytest.mark.parametrize("file", [shard_path(Path(), 1), Path(CELLS)], ids=["a shard", "cells"])
def test_no_flipped_bit_anywhere_in_a_table_goes_unnoticed(three_images: Path, file: Path):
    """Most bits of page and file headers have no checksum: each flip is found, or makes no difference."""
    table = three_images / file
    expected = everything_in(three_images)
    found = 0
    for position in range(0, table.stat().st_size, 7):
        flip_a_bit(table, position)
        try:
            assert everything_in(three_images) == expected, position
        except CorruptArtifactError:
            found += 1
        flip_a_bit(table, position)
    assert found > 100
    assert everything_in(three_images) == expected


def test_a_table_of_where_images_lie_that_is_damaged_is_named_when_the_set_is_opened(three_images: Path):
    cells = three_images / CELLS
    cells.write_bytes(cells.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match=r"cells\.parquet is damaged"):
        ImageSet.open(three_images)


def test_a_table_of_where_images_lie_that_is_of_another_set_is_found(three_images: Path, photograph_folder: Path):
    shutil.copy(photograph_folder / CELLS, three_images / CELLS)
    with pytest.raises(CorruptArtifactError, match=r"cells\.parquet is of 60 images, the set has 3"):
        ImageSet.open(three_images)


def test_a_shard_that_is_gone_since_the_set_was_opened_is_named(three_images: Path):
    images = ImageSet.open(three_images)
    shard_path(three_images, 1).unlink()
    with pytest.raises(CorruptArtifactError, match=r"00001\.parquet is damaged .*No such file"):
        images.image(2)


def test_a_truncated_shard_is_found_when_the_set_is_opened(three_images: Path):
    shard = shard_path(three_images, 1)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match=r"00001\.parquet is damaged"):
        ImageSet.open(three_images)


def test_a_missing_shard_is_found_when_the_set_is_opened(three_images: Path):
    shard_path(three_images, 0).unlink()
    with pytest.raises(CorruptArtifactError, match=r"00000\.parquet is damaged"):
        ImageSet.open(three_images)


def test_a_shard_of_fewer_rows_than_the_index_says_is_found(three_images: Path):
    write_shard(three_images, 0, THREE_ROWS[:1])
    with pytest.raises(CorruptArtifactError, match="holds 2 of its 3 rows"):
        ImageSet.open(three_images)


def test_a_shard_that_failed_half_way_does_not_exist(tmp_path: Path):
    def rows():
        yield THREE_ROWS[0]
        raise OSError("the photograph cannot be read")

    with pytest.raises(OSError, match="photograph"):
        write_shard(tmp_path, 0, rows())
    assert not list((tmp_path / "shards").iterdir())


def test_a_set_whose_classes_are_the_same_number_is_not_read_as_its_labels_may_be_mixed(three_images: Path):
    for classes in (["1", "01", "2"], ["3", "\u0663"]):
        write_index(three_images, classes=classes, num_shards=2)
        with pytest.raises(CorruptArtifactError, match=r"are the same number, .* may be mixed: run .taskdistill disc"):
            ImageSet.open(three_images)
    write_index(three_images, classes=["1", "01", "x"], num_shards=2)  # these were in the order of their names
    assert ImageSet.open(three_images).classes == ["1", "01", "x"]
