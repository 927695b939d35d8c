"""What a frozen network said, in Zarr: the layout on disk, resuming, and reading."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from taskdistill.storage.errors import CacheMismatchError, CorruptArtifactError
from taskdistill.storage.view_arrays import rows_per_chunk
from taskdistill.storage.view_outputs import ViewOutputs, rows_by_id
from taskdistill.storage.view_writer import Chunk, ViewOutputsWriter
from tests.storage.artifacts import TEARS, flip_a_bit, opened_files, tear, writer_of_every_view

NUM_ROWS, NUM_VIEWS, NUM_CLASSES, S = 150, 2, 3, 64
IDS = [f"{number:03d}.jpg" for number in range(NUM_ROWS)]
ATTRIBUTES = {"images": "1" * 64, "encoder": "2" * 64, "views": {"num_views": 1, "seed": 0}, "classes": ["a", "b", "c"]}
EVERY_CHUNK = [
    Chunk("all", 0, 0, 0, 64), Chunk("all", 0, 1, 0, 64),
    Chunk("all", 1, 0, 64, 128), Chunk("all", 1, 1, 64, 128),
    Chunk("all", 2, 0, 128, 150), Chunk("all", 2, 1, 128, 150),
]  # fmt: skip


def logits_of(view: int) -> npt.NDArray[np.float16]:
    """Row i says i, i + 0.5 and -i about the clean view, and the same plus 1000 about the other."""
    rows = np.arange(NUM_ROWS)[:, None] * np.array([1, 1, -1]) + np.array([0, 0.5, 0]) + 1000 * view
    return rows.astype(np.float16)


def open_writer(folder: Path) -> ViewOutputsWriter:
    return writer_of_every_view(folder, IDS, num_views=NUM_VIEWS, row_shape=(NUM_CLASSES,), attributes=ATTRIBUTES)


def write(writer: ViewOutputsWriter, chunk: Chunk) -> None:
    size = chunk.stop - chunk.start
    fields = np.full((size, 9), 10 * chunk.block + chunk.view, np.float32)
    thumbnails = np.full((size, 64), chunk.view, np.uint8)
    writer.write(chunk, logits_of(chunk.view)[chunk.start : chunk.stop], fields, thumbnails)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "logits" / ("b" * 64)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def logits(empty: Path) -> Path:
    writer = open_writer(empty)
    for chunk in EVERY_CHUNK:
        write(writer, chunk)
    return empty


# --- layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_rows", "row_shape", "expected"),
    [
        (100_000, (1000,), 2048),  # 4 MiB / 2000 bytes = 2097
        (100_000, (10,), 4096),  # never more
        (100_000, (5, 3072), 256),  # never fewer, where those are at most 24 MiB
        (2_000, (10,), 256),  # a quarter of the rows is 500
        (360, (10,), 64),  # a quarter of the rows is 90
        (150, (3,), 64),
        (5, (3,), 5),  # never more than there are
        (100_000, (5, 1536), 512),  # features of a ViT-g: 256 are 4 MB, and 390 files a view
        (30_000, (5, 1536), 256),
        (1_000_000, (384,), 8192),  # 6 MiB; of 4096 there would be 245 files a view
        (1_000_000, (8192,), 512),  # 8 MiB, and no more
        (500_000, (384,), 4096),  # 123 files a view
        (100_000, (48 * 1024,), 256),  # 24 MiB
        (100_000, (48 * 1024 + 1,), 128),  # from here on by bytes alone
        (20_000, (150, 37, 37), 32),  # 13 MB
        (50, (150, 37, 37), 32),
        (20_000, (19, 73, 146), 32),  # 13 MB
        (20_000, (150, 130, 130), 4),  # 20 MB
        (20_000, (150, 300, 300), 1),  # a row of 27 MB
    ],
)
def test_a_chunk_is_about_4_mib_or_8_of_many_rows_small_sets_get_several_and_large_outputs_at_most_24_mib(
    num_rows: int, row_shape: tuple[int, ...], expected: int
):
    assert rows_per_chunk(num_rows, row_shape) == expected


@pytest.mark.parametrize("bytes_of_number", [1, 2])
@pytest.mark.parametrize("num_classes", [11, 19, 21, 150, 171])
@pytest.mark.parametrize("cells", [(37, 37), (60, 80), (64, 128), (128, 128)])
def test_chunks_of_maps_that_are_many_megabytes_are_of_10_to_30(
    cells: tuple[int, int], num_classes: int, bytes_of_number: int
):
    row_bytes = num_classes * cells[0] * cells[1] * bytes_of_number
    chunk_bytes = rows_per_chunk(20_000, (num_classes, *cells), bytes_of_number) * row_bytes
    if 256 * row_bytes > 24 * 2**20:
        assert 10e6 < chunk_bytes < 30e6


def test_int8_fits_twice_as_many_rows_in_a_chunk():
    assert rows_per_chunk(20_000, (150, 37, 37), bytes_of_number=1) == 64


def test_one_file_holds_s_rows_of_one_view(logits: Path):
    names = [f"c/{block}/{view}/0" for block in range(3) for view in range(2)]
    for array in ("outputs", "views", "thumbnails"):
        assert files_below(logits / "outputs.zarr" / "all" / array) == [*names, "zarr.json"]


def test_a_chunk_file_is_the_little_endian_rows_and_four_bytes_of_checksum(logits: Path):
    data = (logits / "outputs.zarr" / "all" / "outputs" / "c" / "1" / "1" / "0").read_bytes()
    assert data[:-4] == logits_of(view=1)[64:128].astype("<f2").tobytes()
    assert len(data) == 64 * 3 * 2 + 4


@pytest.mark.parametrize(
    ("array", "row_shape", "dtype"),
    [("outputs", [3], "float16"), ("views", [9], "float32"), ("thumbnails", [64], "uint8")],
)
def test_the_metadata_says_chunks_of_one_view_a_checksum_and_no_compressor(
    logits: Path, array: str, row_shape: list[int], dtype: str
):
    metadata = json.loads((logits / "outputs.zarr" / "all" / array / "zarr.json").read_text())
    codecs = [codec["name"] for codec in metadata["codecs"]]
    assert metadata["zarr_format"] == 3
    assert metadata["shape"] == [NUM_ROWS, NUM_VIEWS, *row_shape]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [S, 1, *row_shape]
    assert (codecs, metadata["data_type"]) == (["bytes", "crc32c"], dtype)


def test_outputs_views_and_thumbnails_come_back_as_they_were_written(logits: Path):
    outputs = ViewOutputs(logits)
    assert (outputs.ids, outputs.attributes, outputs.row_shape) == (IDS, ATTRIBUTES, (3,))
    assert outputs.num_views == 2
    for view in range(2):
        np.testing.assert_array_equal(outputs.view(view), logits_of(view), strict=True)
    np.testing.assert_array_equal(outputs.rows(60, 70, 1), logits_of(1)[60:70], strict=True)
    np.testing.assert_array_equal(outputs.view_fields(127, 129, 1)[:, 0], np.array([11, 21], np.float32))
    np.testing.assert_array_equal(outputs.thumbnails(0, 2, 1), np.ones((2, 64), np.uint8), strict=True)


# --- resuming ------------------------------------------------------------------------------------------------------


def test_a_new_artifact_misses_every_chunk_and_a_finished_one_none(empty: Path):
    writer = open_writer(empty)
    assert writer.missing() == writer.chunks() == EVERY_CHUNK
    for chunk in EVERY_CHUNK:
        write(writer, chunk)
    assert writer.missing() == []


def test_chunks_may_be_written_in_any_order(empty: Path):
    for chunk in reversed(EVERY_CHUNK):
        write(open_writer(empty), chunk)
    np.testing.assert_array_equal(ViewOutputs(empty).view(1), logits_of(1))


@pytest.mark.parametrize("array", ["outputs", "thumbnails", "views"])
def test_after_a_write_was_killed_exactly_the_chunks_that_are_not_whole_are_missing(empty: Path, array: str):
    """The third chunk's temporary file is there, and the writer dies before it gets its name."""
    program = f"""
import os, signal, sys
from pathlib import Path
from tests.storage.test_view_outputs import EVERY_CHUNK, open_writer, write
def die(event, arguments):
    if event == "os.rename" and "/{array}/c/1/0/" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
writer = open_writer(Path({str(empty)!r}))
for chunk in EVERY_CHUNK:
    write(writer, chunk)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, timeout=60
    )
    assert done.returncode == -9, done.stderr
    assert [name for name in files_below(empty) if name.endswith(".partial")]
    writer = open_writer(empty)
    assert writer.missing() == EVERY_CHUNK[2:]
    for chunk in writer.missing():
        write(writer, chunk)
    np.testing.assert_array_equal(ViewOutputs(empty).view(0), logits_of(0))
    np.testing.assert_array_equal(ViewOutputs(empty).view(1), logits_of(1))


@pytest.mark.parametrize("is_continued", [False, True], ids=["in a new draft", "in one that is continued"])
def test_a_chunk_whose_values_are_all_the_fill_value_still_counts_as_written(empty: Path, is_continued: bool):
    writer = open_writer(empty)
    if is_continued:
        writer = open_writer(empty)
    for chunk in EVERY_CHUNK:
        size = chunk.stop - chunk.start
        nothing = (
            np.zeros((size, 3), np.float16),
            np.full((size, 9), np.nan, np.float32),
            np.zeros((size, 64), np.uint8),
        )
        writer.write(chunk, *nothing)
    assert open_writer(empty).missing() == open_writer(empty).remove_damaged() == []
    outputs = ViewOutputs(empty)
    assert not outputs.view(0).any()
    assert not outputs.thumbnails(0, NUM_ROWS, 1).any()
    assert np.isnan(outputs.view_fields(0, NUM_ROWS, 1)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_refused_and_nothing_is_written(empty: Path, value: float):
    writer = open_writer(empty)
    outputs = logits_of(0)[64:128].copy()
    outputs[63, 2] = value
    with pytest.raises(ValueError, match="rows 64 to 128, view 0 are not finite"):
        writer.write(EVERY_CHUNK[2], outputs, np.zeros((64, 9), np.float32), np.zeros((64, 64), np.uint8))
    assert writer.missing() == EVERY_CHUNK


@pytest.mark.parametrize("how", [*TEARS, "gone"])
@pytest.mark.parametrize("array", ["outputs", "views", "thumbnails"])
def test_a_chunk_that_a_power_cut_tore_is_made_again_and_no_other(logits: Path, array: str, how: str):
    chunk = logits / "outputs.zarr" / "all" / array / "c" / "1" / "1" / "0"
    chunk.unlink() if how == "gone" else tear(chunk, how)
    writer = open_writer(logits)
    writer.remove_damaged()
    assert writer.missing() == [Chunk("all", 1, 1, 64, 128)]
    write(writer, writer.missing()[0])
    assert writer.remove_damaged() == []
    np.testing.assert_array_equal(ViewOutputs(logits).view(1), logits_of(1))


@pytest.mark.parametrize("how", [*TEARS, "gone"])
@pytest.mark.parametrize(
    "name", ["zarr.json", "all/zarr.json", *(f"all/{array}/zarr.json" for array in ("outputs", "views", "thumbnails"))]
)
def test_a_layout_that_a_power_cut_tore_is_made_again_and_the_chunks_stay(logits: Path, name: str, how: str):
    path = logits / "outputs.zarr" / name
    whole = path.read_bytes()
    path.unlink() if how == "gone" else tear(path, how)
    writer = open_writer(logits)
    assert path.read_bytes() == whole
    assert writer.remove_damaged() == writer.missing() == []
    assert ViewOutputs(logits).attributes == ATTRIBUTES


@pytest.mark.parametrize("how", TEARS)
def test_ids_that_a_power_cut_tore_are_written_again(logits: Path, how: str):
    whole = (logits / "rows.parquet").read_bytes()
    tear(logits / "rows.parquet", how)
    open_writer(logits)
    assert (logits / "rows.parquet").read_bytes() == whole


# --- reading -------------------------------------------------------------------------------------------------------


def test_reading_a_view_opens_each_of_its_chunks_once_and_no_other(logits: Path):
    outputs = ViewOutputs(logits)
    with opened_files() as opened:
        outputs.view(1)
    chunks = [Path(path).relative_to(logits).as_posix() for path in opened if path.startswith(str(logits))]
    assert sorted(chunks) == [f"outputs.zarr/all/outputs/c/{block}/1/0" for block in range(3)]


def test_reading_rows_opens_only_the_chunks_they_lie_in(logits: Path):
    outputs = ViewOutputs(logits)
    with opened_files() as opened:
        outputs.rows(64, 128, 0)
    assert [path for path in opened if path.startswith(str(logits))] == [
        str(logits / "outputs.zarr" / "all" / "outputs" / "c" / "1" / "0" / "0")
    ]


def damaged(logits: Path, damage: str, array: str) -> None:
    chunk = logits / "outputs.zarr" / "all" / array / "c" / "1" / "1" / "0"
    if damage == "flipped":
        flip_a_bit(chunk)
    elif damage == "deleted":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[: 4 if damage == "cut to four bytes" else -6])


@pytest.mark.parametrize("damage", ["flipped", "deleted", "truncated", "cut to four bytes"])
def test_a_damaged_chunk_is_found_when_its_view_is_read_and_others_stay_readable(logits: Path, damage: str):
    damaged(logits, damage, "outputs")
    outputs = ViewOutputs(logits)
    with pytest.raises(CorruptArtifactError, match=r"outputs.*taskdistill discard logits@bbbbbbbbbbbb"):
        outputs.view(1)
    np.testing.assert_array_equal(outputs.view(0), logits_of(0))


@pytest.mark.parametrize("damage", ["flipped", "deleted", "truncated"])
def test_damage_to_the_stored_views_and_thumbnails_is_found(logits: Path, damage: str):
    for array in ("views", "thumbnails"):
        damaged(logits, damage, array)
    outputs = ViewOutputs(logits)
    with pytest.raises(CorruptArtifactError):
        outputs.view_fields(64, 128, 1)
    with pytest.raises(CorruptArtifactError):
        outputs.thumbnails(64, 128, 1)


def test_damage_to_the_image_ids_is_found(logits: Path):
    flip_a_bit(logits / "rows.parquet", position=40)  # an id: another text, which only the checksum can tell
    with pytest.raises(CorruptArtifactError, match=r"rows\.parquet is damaged"):
        ViewOutputs(logits)


# --- proof ---------------------------------------------------------------------------------------------------------


def test_outputs_that_fit_are_accepted(logits: Path):
    ViewOutputs(logits).require(images="1" * 64, views={"num_views": 1, "seed": 0}, classes=["a", "b", "c"])


def test_every_attribute_that_differs_is_named_with_both_values_and_no_other(logits: Path):
    with pytest.raises(CacheMismatchError) as caught:
        ViewOutputs(logits).require(images="1" * 64, encoder="9" * 64, views={"num_views": 8, "seed": 0}, head="h")
    message = str(caught.value)
    assert f"encoder: these are of {'2' * 57}..., {'9' * 57}... was asked for" in message
    assert "views: these are of {'num_views': 1, 'seed': 0}, {'num_views': 8, 'seed': 0} was asked for" in message
    assert "head: these are of None, h was asked for" in message
    assert "images" not in message
    assert "Run the stage that makes them" in message


def test_rows_are_joined_by_image_id_whatever_the_order():
    assert rows_by_id(["c", "a", "b", "d"], ["a", "d", "c", "a"]).tolist() == [1, 3, 0, 1]


def test_images_without_cached_outputs_are_counted_and_the_first_is_named():
    with pytest.raises(CacheMismatchError, match=r"no cached outputs of 2 of 3 images, the first is 'x'"):
        rows_by_id(["a", "b"], ["b", "x", "y"])
