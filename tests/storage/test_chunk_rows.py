"""Single rows read straight from chunk files: the right ones, what is read of which files, and damage."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.int8_rows import quantised, restored
from taskdistill.storage.view_outputs import GROUP, Part, ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from tests.storage.artifacts import flip_a_bit, opened_files, write_format_1

NUM_ROWS, SHAPE = 150, (3, 2, 4)
IDS = [f"{number:03d}" for number in range(NUM_ROWS)]
PARTS = [Part(np.arange(0, 130), range(1, 3)), Part(np.arange(130, 150), range(1))]
"""130 images in views 1 and 2, in chunks of 64, 64 and 2 rows; the last 20 in the clean view."""


def maps(rows: np.ndarray, view: int) -> np.ndarray:
    """Maps [n, 3, 2, 4] of which no two are alike."""
    values = [np.random.default_rng([row, view]).standard_normal(SHAPE) * 5 for row in rows.tolist()]
    return np.stack(values).astype(np.float16)


def write(folder: Path, stored: str) -> Path:
    folder.mkdir(parents=True)
    layout = Layout(SHAPE, {"images": "i" * 64}, stored)  # type: ignore[arg-type]
    writer = ViewOutputsWriter(folder, ids=IDS, parts=PARTS, layout=lambda: layout)
    for chunk in writer.chunks():
        rows = writer.rows_of(chunk)
        fields = np.repeat(rows[:, None], 9, axis=1).astype(np.float32)
        writer.write(chunk, maps(rows, chunk.view), fields, np.zeros((len(rows), 64), np.uint8))
    return folder


@pytest.fixture
def logits(tmp_path: Path) -> Path:
    return write(tmp_path / "logits" / ("b" * 64), "fp16")


def chunk_of(folder: Path, block: int, column: int) -> Path:
    return folder / GROUP / "augmented" / "outputs" / "c" / str(block) / str(column) / "0" / "0" / "0"


def test_rows_come_in_the_order_asked_for_also_twice(logits: Path) -> None:
    rows = np.array([129, 0, 63, 64, 0, 128])
    np.testing.assert_array_equal(ViewOutputs(logits).take(rows, 2), maps(rows, 2), strict=True)
    np.testing.assert_array_equal(ViewOutputs(logits).take(np.array([19, 2]), 0), maps(np.array([149, 132]), 0))
    assert ViewOutputs(logits).take(np.array([], np.int64), 1).shape == (0, *SHAPE)


def test_rows_of_a_view_that_two_parts_share_are_found_in_both(tmp_path: Path) -> None:
    folder = tmp_path / "logits" / ("b" * 64)
    folder.mkdir(parents=True)
    parts = [Part(np.array([1, 3]), range(1)), Part(np.array([0, 2]), range(2))]
    writer = ViewOutputsWriter(folder, ids=IDS[:4], parts=parts, layout=lambda: Layout(SHAPE, {}))
    for chunk in writer.chunks():
        rows = writer.rows_of(chunk)
        writer.write(chunk, maps(rows, 0), np.zeros((2, 9), np.float32), np.zeros((2, 64), np.uint8))
    # Rows of the view: images 1 and 3, then 0 and 2.
    found = ViewOutputs(folder).take(np.array([2, 1, 0, 3]), 0)
    np.testing.assert_array_equal(found, maps(np.array([0, 3, 1, 2]), 0))


def test_a_batch_opens_only_the_chunks_that_its_rows_lie_in(logits: Path) -> None:
    outputs = ViewOutputs(logits)
    outputs.take(np.array([1]), 1)
    with opened_files() as opened:
        outputs.take(np.array([5, 70, 3, 71]), 1)
    assert sorted(set(opened)) == [str(chunk_of(logits, block, 0)) for block in (0, 1)]


def test_a_chunk_is_read_as_a_whole_once_and_then_no_more_than_its_rows(logits: Path) -> None:
    """Rows 0 to 63 of view 1: row 1 can be damaged after the chunk was compared, and row 2 still be read."""
    outputs = ViewOutputs(logits)
    outputs.take(np.array([0]), 1)
    flip_a_bit(chunk_of(logits, 0, 0), position=1 * 24 * 2 + 5)
    np.testing.assert_array_equal(outputs.take(np.array([2]), 1), maps(np.array([2]), 1))
    with pytest.raises(CorruptArtifactError):
        ViewOutputs(logits).take(np.array([2]), 1)


@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_a_damaged_chunk_is_found_when_the_first_of_its_rows_is_asked_for(logits: Path, damage: str) -> None:
    chunk = chunk_of(logits, 1, 1)
    if damage == "flipped":
        flip_a_bit(chunk)
    elif damage == "short":
        chunk.write_bytes(chunk.read_bytes()[:-30])
    else:
        chunk.unlink()
    outputs = ViewOutputs(logits)
    np.testing.assert_array_equal(outputs.take(np.array([63, 128]), 2), maps(np.array([63, 128]), 2))
    with pytest.raises(CorruptArtifactError, match=r"outputs.*taskdistill discard logits@bbbbbbbbbbbb"):
        outputs.take(np.array([127]), 2)


def test_a_file_that_is_cut_short_after_it_was_compared_is_an_error_and_no_crash(logits: Path) -> None:
    outputs = ViewOutputs(logits)
    outputs.take(np.array([0]), 1)
    chunk_of(logits, 0, 0).write_bytes(b"short")
    with pytest.raises(CorruptArtifactError, match="missing or damaged"):
        outputs.take(np.array([60]), 1)


def test_compressed_chunks_are_refused_by_the_names_of_their_codecs(logits: Path) -> None:
    place = logits / GROUP / "clean" / "outputs"
    values = zarr.open_array(place, mode="r")[:]
    zarr.create_array(place, data=values, chunks=(20, 1, *SHAPE), overwrite=True)
    with pytest.raises(CorruptArtifactError, match=r"codecs \['bytes', 'zstd'\], and rows are read from files with"):
        ViewOutputs(logits).take(np.array([0]), 0)


def test_maps_in_the_layout_of_format_1_are_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "logits" / ("c" * 64)
    folder.mkdir(parents=True)
    outputs = np.stack([maps(np.arange(10), view) for view in range(2)], axis=1)
    views, thumbnails = np.zeros((10, 2, 9), np.float32), np.zeros((10, 2, 64), np.uint8)
    write_format_1(folder, IDS[:10], outputs, views, thumbnails, chunk_rows=4)
    found = ViewOutputs(folder).take(np.array([9, 0, 5]), 1)
    np.testing.assert_array_equal(found, maps(np.array([9, 0, 5]), 1))


# --- one byte a number -------------------------------------------------------------------------------------------


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    return write(tmp_path / "logits" / ("d" * 64), "int8")


def test_rows_of_int8_are_what_their_bytes_and_scales_stand_for_however_they_are_read(int8: Path) -> None:
    outputs, rows = ViewOutputs(int8), np.array([129, 0, 64])
    expected = restored(*quantised(maps(rows, 2)))
    np.testing.assert_array_equal(outputs.take(rows, 2), expected, strict=True)
    np.testing.assert_array_equal(outputs.view(2)[rows], expected, strict=True)
    np.testing.assert_array_equal(outputs.rows(64, 65, 2), expected[2:])
    assert np.abs(expected.astype(float) - maps(rows, 2)).max() < 0.1


def test_int8_is_stored_as_bytes_with_a_scale_and_an_offset_for_each_view_of_an_image(int8: Path) -> None:
    group = zarr.open_group(int8 / GROUP / "augmented", mode="r")
    found = {name: (group[name].shape, str(group[name].dtype)) for name in ("outputs", "scales")}  # type: ignore[union-attr]
    assert found == {"outputs": ((130, 2, *SHAPE), "int8"), "scales": ((130, 2, 2), "float32")}
    data = chunk_of(int8, 0, 1).read_bytes()
    assert data[:-4] == quantised(maps(np.arange(64), 2))[0].tobytes()


@pytest.mark.parametrize("array", ["outputs", "scales"])
def test_damage_to_bytes_and_to_scales_is_found(int8: Path, array: str) -> None:
    rest = ("0", "0", "0") if array == "outputs" else ("0",)
    flip_a_bit(int8.joinpath(GROUP, "clean", array, "c", "0", "0", *rest))
    for read in (lambda: ViewOutputs(int8).take(np.array([3]), 0), lambda: ViewOutputs(int8).view(0)):
        with pytest.raises(CorruptArtifactError, match=f"{array}.*taskdistill discard logits@dddd"):
            read()
