"""What a frozen network said of some views of each image: parts, joins, and the layout of format 1, in which every view
of every image is there.
"""

import logging
from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.completeness import gaps
from storage.errors import CacheMismatchError, CorruptArtifactError
from storage.files import all_files
from storage.view_outputs import Part, ViewOutputs
from storage.view_writer import Chunk, Layout, ViewOutputsWriter
from tasks.data.view_cache import ViewCache
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
