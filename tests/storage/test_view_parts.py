"""What a frozen network said of some views of each image: parts, joins, and the layout of format 1, in which every view
of every image is there.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from taskdistill.storage import view_arrays
from taskdistill.storage.completeness import gaps
from taskdistill.storage.errors import CacheMismatchError, CorruptArtifactError
from taskdistill.storage.files import all_files
from taskdistill.storage.view_outputs import Part, ViewOutputs
from taskdistill.storage.view_writer import Chunk, Layout, ViewOutputsWriter
from taskdistill.tasks.data.view_cache import ViewCache
from tests.storage.artifacts import tear, write_format_1

IDS = ["a", "b", "c", "d", "e"]
PARTS = [Part(np.array([0, 3]), range(1)), Part(np.array([1, 2]), range(1, 3)), Part(np.array([4]), range(3))]
"""a and d: the clean view. b and c: views 1 and 2. e: all three."""
NUM_SHOWN = 2 * 1 + 2 * 2 + 1 * 3


def values(rows: np.ndarray, view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs [n, 2] that say row and view, as do view fields and thumbnails."""
    outputs = np.stack([rows, np.full(len(rows), view)], axis=1).astype(np.float16)
    fields = np.repeat(rows[:, None] * 10 + view, 9, axis=1).astype(np.float32)
    return outputs, fields, np.repeat(rows[:, None] * 10 + view, 64, axis=1).astype(np.uint8)


def open_writer(folder: Path) -> ViewOutputsWriter:
    return ViewOutputsWriter(folder, ids=IDS, parts=PARTS, layout=lambda: Layout((2,), {"images": "i" * 64}))


def write(writer: ViewOutputsWriter, chunk: Chunk) -> None:
    writer.write(chunk, *values(writer.rows_of(chunk), chunk.view))


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    folder = tmp_path / "logits" / ("b" * 64)
    folder.mkdir(parents=True)
    writer = open_writer(folder)
    for chunk in writer.chunks():
        write(writer, chunk)
    return folder


@pytest.fixture
def format_1(tmp_path: Path) -> Path:
    """Five images in three views, in chunks of five rows."""
    folder = tmp_path / "logits" / ("c" * 64)
    folder.mkdir(parents=True)
    made = [values(np.arange(5), view) for view in range(3)]
    write_format_1(folder, IDS, *(np.stack(arrays, axis=1) for arrays in zip(*made, strict=True)), chunk_rows=5)
    return folder


def damage_in(folder: Path) -> list[tuple[str, str]]:
    return list(gaps(folder, [path.relative_to(folder).as_posix() for path in all_files(folder)]))


# --- parts -------------------------------------------------------------------------------------------------------


def test_each_part_has_chunks_of_its_own_views_and_no_other(ragged: Path):
    writer = open_writer(ragged)
    assert [(chunk.part, chunk.view, chunk.stop - chunk.start) for chunk in writer.chunks()] == [
        ("clean", 0, 2), ("augmented", 1, 2), ("augmented", 2, 2), ("all", 0, 1), ("all", 1, 1), ("all", 2, 1),
    ]  # fmt: skip
    assert writer.num_shown == NUM_SHOWN
    outputs = [zarr.open_array(ragged / "outputs.zarr" / part / "outputs", mode="r") for part in writer.parts]
    assert [array.shape for array in outputs] == [(2, 1, 2), (2, 2, 2), (1, 3, 2)]
    assert not any(np.isnan(array[:]).any() for array in outputs)
    assert damage_in(ragged) == []


def test_a_view_is_of_the_images_that_were_shown_it(ragged: Path):
    outputs = ViewOutputs(ragged)
    assert [outputs.ids_of(view) for view in range(4)] == [["a", "d", "e"], ["b", "c", "e"], ["b", "c", "e"], []]
    assert outputs.view(0).tolist() == [[0, 0], [3, 0], [4, 0]]
    assert outputs.view(2).tolist() == [[1, 2], [2, 2], [4, 2]]
    assert outputs.rows(1, 3, 1).tolist() == [[2, 1], [4, 1]]
    assert outputs.view_fields(0, 3, 0)[:, 8].tolist() == [0, 30, 40]
    assert outputs.thumbnails(2, 3, 2)[:, 63].tolist() == [42]
    assert (outputs.num_views, outputs.row_shape) == (3, (2,))


def test_images_are_found_by_id_in_whatever_part_they_are(ragged: Path):
    cache = ViewCache(ViewOutputs(ragged), ["e", "a"], budget_mb=1)
    seen = cache.take(np.array([1, 0, 0]), np.array([0, 0, 0]))
    assert seen.outputs.tolist() == [[0, 0], [4, 0], [4, 0]]
    assert seen.views_N9[:, 0].tolist() == [0, 40, 40]


@pytest.mark.parametrize(
    ("ids", "view", "message"),
    [
        (
            ["e", "a", "d"],
            2,
            "hold only the clean view of 'a' and of 1 other images, and augmented view 2 was",
        ),
        (["b"], 0, "these logits hold only the augmented views of 'b', and the clean view was asked for"),
    ],
)
def test_a_view_that_was_not_shown_is_an_error_that_says_which_are_there(
    ragged: Path, ids: list[str], view: int, message: str
):
    cache = ViewCache(ViewOutputs(ragged), ids, budget_mb=1)
    with pytest.raises(CacheMismatchError, match=message):
        cache.take(np.arange(len(ids)), np.full(len(ids), view))


def test_a_part_that_is_gone_is_found_by_readers_and_by_verify(ragged: Path):
    for path in sorted((ragged / "outputs.zarr" / "all").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (ragged / "outputs.zarr" / "all").rmdir()
    with pytest.raises(CorruptArtifactError, match=r"lacks parts that rows\.parquet names.*discard logits@"):
        ViewOutputs(ragged)
    assert damage_in(ragged) == [
        ("outputs.zarr/all/outputs/zarr.json", "is missing: rows.parquet says that it must be there")
    ]


def test_a_draft_that_says_its_layout_is_continued_without_asking_for_it(ragged: Path):
    def unknown() -> Layout:
        raise AssertionError("asked")

    writer = ViewOutputsWriter(ragged, ids=IDS, parts=PARTS, layout=unknown)
    assert (writer.row_shape, writer.missing()) == ((2,), [])
    tear(ragged / "outputs.zarr" / "clean" / "views" / "zarr.json", "half")
    with pytest.raises(AssertionError, match="asked"):
        ViewOutputsWriter(ragged, ids=IDS, parts=PARTS, layout=unknown)


# --- images that nobody reads ------------------------------------------------------------------------------------

READ = [Part(np.array([0, 3]), range(1)), Part(np.array([1, 2]), range(1, 3))]
"""Nothing reads image e."""


def filled(folder: Path, parts: list[Part]) -> ViewOutputsWriter:
    """A writer of these parts that has written what was missing."""
    writer = ViewOutputsWriter(folder, ids=IDS, parts=parts, layout=lambda: Layout((2,), {}))
    for chunk in writer.missing():
        write(writer, chunk)
    return writer


def test_images_in_no_part_are_left_out(tmp_path: Path):
    writer = filled(tmp_path, READ)
    outputs = ViewOutputs(tmp_path)
    assert (writer.num_rows, writer.num_shown, outputs.ids) == (4, 6, ["a", "b", "c", "d"])
    assert outputs.view(0).tolist() == [[0, 0], [3, 0]]
    with pytest.raises(CacheMismatchError, match=r"no cached outputs of 1 of \d+ images, the first is 'e'"):
        outputs.rows_of(["e"], 0)
    assert damage_in(tmp_path) == []


@pytest.mark.parametrize("torn", [None, "rows.parquet", "outputs.zarr/clean/outputs/zarr.json"])
def test_a_draft_that_an_earlier_version_began_with_them_is_finished_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: str | None
):
    filled(tmp_path, [Part(np.array([0, 3, 4]), range(1)), READ[1]])
    expected = {path: path.read_bytes() for path in all_files(tmp_path)}
    (tmp_path / "outputs.zarr/clean/outputs/c/0/0/0").unlink()
    if torn:
        tear(tmp_path / torn, "half")
    with caplog.at_level(logging.INFO):
        assert filled(tmp_path, READ).missing() == []
    assert "shows images that are not read: finished so" in caplog.text
    assert {path: path.read_bytes() for path in all_files(tmp_path)} == expected


def test_a_draft_of_other_images_is_refused(tmp_path: Path):
    filled(tmp_path, READ)
    with pytest.raises(CacheMismatchError, match="begun with 2 images where there are now 3: discard"):
        filled(tmp_path, [Part(np.array([0, 3, 4]), range(1)), READ[1]])


# --- format 1 ----------------------------------------------------------------------------------------------------


def test_format_1_serves_every_view_of_every_image(format_1: Path):
    outputs = ViewOutputs(format_1)
    assert (outputs.num_views, outputs.row_shape, outputs.attributes) == (3, (2,), {"images": "i" * 64})
    for view in range(3):
        assert outputs.ids_of(view) == IDS
        assert outputs.view(view).tolist() == [[row, view] for row in range(5)]
    assert outputs.view_fields(1, 2, 2)[0, 0] == 12
    assert outputs.thumbnails(4, 5, 1)[0, 0] == 41
    seen = ViewCache(outputs, ["d", "b"], budget_mb=1).take(np.array([0, 1]), np.array([0, 2]))
    assert seen.outputs.tolist() == [[3, 0], [1, 2]]


def test_format_1_is_complete_and_what_it_lacks_is_named(format_1: Path):
    assert damage_in(format_1) == []
    (format_1 / "outputs.zarr" / "views" / "c" / "0" / "1" / "0").unlink()
    assert [gap[0] for gap in damage_in(format_1)] == ["outputs.zarr/views/c/0/1/0"]


def test_a_draft_of_format_1_is_finished_as_it_was_begun_and_the_log_says_so(
    format_1: Path, caplog: pytest.LogCaptureFixture
):
    expected = {path: path.read_bytes() for path in all_files(format_1)}
    for array in ("outputs", "views", "thumbnails"):
        (format_1 / "outputs.zarr" / array / "c" / "0" / "1" / "0").unlink()
    tear(format_1 / "outputs.zarr" / "outputs" / "zarr.json", "empty")
    with caplog.at_level(logging.INFO):
        writer = open_writer(format_1)
    assert "was begun by an earlier version" in caplog.text
    assert writer.missing() == [Chunk("all", 0, 1, 0, 5)]
    write(writer, writer.missing()[0])
    assert writer.remove_damaged() == writer.missing() == []
    assert {path: path.read_bytes() for path in all_files(format_1)} == expected


# --- maps, and chunks by an earlier rule -------------------------------------------------------------------------

MAP = (2000, 10, 10)
"""400 kB a row: 32 rows are a chunk of 13 MB. Earlier versions never put fewer than 64."""


def map_writer(folder: Path) -> ViewOutputsWriter:
    ids, parts = [f"{number:02d}" for number in range(66)], [Part(np.arange(66), range(1))]
    return ViewOutputsWriter(folder, ids=ids, parts=parts, layout=lambda: Layout(MAP, {"images": "i" * 64}))


def write_maps(writer: ViewOutputsWriter, chunk: Chunk) -> None:
    rows = writer.rows_of(chunk)
    outputs = np.broadcast_to(rows[:, None, None, None], (len(rows), *MAP)).astype(np.float16)
    writer.write(chunk, outputs, *values(rows, 0)[1:])


@pytest.fixture
def begun_by_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A draft of 66 maps, with the first of its two chunks, as it was begun before chunks of maps went by bytes."""
    folder = tmp_path / "logits" / ("e" * 64)
    folder.mkdir(parents=True)
    with monkeypatch.context() as before:
        before.setattr(view_arrays, "MAX_CHUNK_BYTES", 2**40)
        writer = map_writer(folder)
        assert [chunk.stop for chunk in writer.chunks()] == [64, 66]
        write_maps(writer, writer.chunks()[0])
    return folder


@pytest.mark.parametrize("torn", ["", "outputs", "views"])
def test_a_draft_with_chunks_of_more_rows_is_finished_as_it_was_begun(begun_by_64: Path, torn: str):
    if torn:
        tear(begun_by_64 / "outputs.zarr" / "clean" / torn / "zarr.json", "half")
    writer = map_writer(begun_by_64)
    assert (writer.remove_damaged(), writer.missing()) == ([], [Chunk("clean", 1, 0, 64, 66)])
    write_maps(writer, writer.missing()[0])
    assert ViewOutputs(begun_by_64).take(np.array([65, 1]), 0)[:, 5, 3, 2].tolist() == [65, 1]


def test_where_nothing_says_any_more_how_many_rows_its_chunks_had_they_are_made_again(begun_by_64: Path):
    for array in ("outputs", "views", "thumbnails"):
        tear(begun_by_64 / "outputs.zarr" / "clean" / array / "zarr.json", "empty")
    writer = map_writer(begun_by_64)
    assert [(chunk.start, chunk.stop) for chunk in writer.remove_damaged()] == [(0, 32)]
    assert [chunk.stop for chunk in writer.missing()] == [32, 64, 66]


# --- one byte a number -------------------------------------------------------------------------------------------


def int8_writer(folder: Path) -> ViewOutputsWriter:
    return ViewOutputsWriter(folder, ids=IDS, parts=PARTS, layout=lambda: Layout((2,), {"images": "i" * 64}, "int8"))


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    folder = tmp_path / "logits" / ("f" * 64)
    folder.mkdir(parents=True)
    writer = int8_writer(folder)
    for chunk in writer.chunks():
        write(writer, chunk)
    return folder


def test_int8_is_whole_with_its_scales_and_a_lack_of_them_is_named(int8: Path):
    assert damage_in(int8) == []
    shutil.rmtree(int8 / "outputs.zarr" / "clean" / "scales")
    assert damage_in(int8) == [
        ("outputs.zarr/clean/scales/zarr.json", "is missing: outputs.zarr/clean/outputs needs it")
    ]


@pytest.mark.parametrize("how", ["empty", "half", "gone"])
@pytest.mark.parametrize("array", ["outputs", "scales"])
def test_descriptions_of_int8_that_a_power_cut_tore_are_made_again_and_the_chunks_stay(
    int8: Path, array: str, how: str
):
    path = int8 / "outputs.zarr" / "all" / array / "zarr.json"
    whole = path.read_bytes()
    path.unlink() if how == "gone" else tear(path, how)
    writer = int8_writer(int8)
    assert path.read_bytes() == whole
    assert writer.remove_damaged() == writer.missing() == []


def test_a_chunk_of_int8_whose_scales_a_power_cut_tore_is_made_again(int8: Path):
    tear(int8 / "outputs.zarr" / "all" / "scales" / "c" / "0" / "1" / "0", "zeros")
    writer = int8_writer(int8)
    assert writer.remove_damaged() == writer.missing() == [Chunk("all", 0, 1, 0, 1)]
    write(writer, writer.missing()[0])
    assert ViewOutputs(int8).view(1).tolist() == [[1, 1], [2, 1], [4, 1]]
