"""How views were cut and what they looked like: small files while outputs are made, few when all are there."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from taskdistill.storage.errors import CorruptArtifactError, DraftError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from taskdistill.storage.view_arrays import gather
from taskdistill.storage.view_outputs import Part, ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.artifact_files import OUTPUTS
from tests.storage.artifacts import flip_a_bit, recipe_of

IDS = [f"{number}.png" for number in range(300)]
PARTS = [Part(np.arange(40), range(1)), Part(np.arange(40, 300), range(1, 4))]
RECIPE = recipe_of("features", {})
REF = ArtifactRef("features", fingerprint(RECIPE))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def draft(store: ArtifactStore) -> Path:
    """300 images: 40 in the clean view, 260 in three others, in chunks of 64 rows."""
    draft = store.draft(REF, RECIPE)
    writer = open_writer(draft)
    for chunk in writer.missing():
        rows = writer.rows_of(chunk)
        outputs = np.repeat(rows.astype(np.float16)[:, None], 2, axis=1)
        writer.write(chunk, outputs, fields_of(rows, chunk.view), thumbnails_of(rows, chunk.view))
    return draft


def open_writer(draft: Path) -> ViewOutputsWriter:
    return ViewOutputsWriter(draft, ids=IDS, parts=PARTS, layout=lambda: Layout((2,), {"images": "i" * 64}))


def fields_of(rows: np.ndarray, view: int) -> np.ndarray:
    return (rows[:, None] * 10 + np.arange(9) / 8 + view * 1e4).astype(np.float32)


def thumbnails_of(rows: np.ndarray, view: int) -> np.ndarray:
    return ((rows[:, None] + np.arange(64) + view) % 251).astype(np.uint8)


def commit(store: ArtifactStore) -> ViewOutputs:
    store.commit(REF, recipe=RECIPE, inputs={}, summary={}, contents=OUTPUTS)
    return ViewOutputs(store.path(REF))


def small_files(folder: Path) -> list[str]:
    group = folder / "outputs.zarr"
    names = [path.relative_to(group).as_posix() for path in group.glob("*/*/c/**/*") if path.is_file()]
    return sorted(name for name in names if "outputs/c" not in name)


@pytest.mark.parametrize(("view", "first", "last"), [(0, 0, 40), (1, 40, 300), (3, 40, 300)])
def test_of_each_view_it_is_known_how_it_was_cut_and_what_it_looked_like(
    store: ArtifactStore, draft: Path, view: int, first: int, last: int
):
    open_writer(draft).gather()
    outputs, rows = commit(store), np.arange(first, last)
    assert np.array_equal(outputs.view_fields(0, len(rows), view), fields_of(rows, view))
    assert np.array_equal(outputs.thumbnails(0, len(rows), view), thumbnails_of(rows, view))
    assert np.array_equal(outputs.view_fields(7, 31, view), fields_of(rows[7:31], view))
    assert np.array_equal(outputs.view(view)[:, 0], rows.astype(np.float16))


def test_an_artifact_has_a_file_for_all_views_of_many_rows_where_its_draft_had_two_for_each_chunk(
    store: ArtifactStore, draft: Path
):
    open_writer(draft).gather()
    assert len(small_files(draft)) == 2 * (1 + 3 * 5) + 2  # 40 rows in one chunk; 260 in five of 64, in three views
    assert small_files(commit(store).folder) == ["augmented/shown/c/0/0/0", "clean/shown/c/0/0/0"]
    assert not list(verify(store, REF))


def test_rows_that_are_many_have_several_files(draft: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("taskdistill.storage.view_arrays.CHUNK_BYTES", 130 * 3 * 100)
    open_writer(draft).gather()
    assert [name for name in small_files(draft) if "augmented/shown" in name] == [
        f"augmented/shown/c/{block}/0/0" for block in range(3)
    ]
    shown = zarr.open_array(draft / "outputs.zarr/augmented/shown", mode="r")
    assert shown.chunks == (128, 3, 100)
    assert np.array_equal(shown[:, 1, 36:], thumbnails_of(np.arange(40, 300), 2))


def test_what_a_killed_process_gathered_is_gathered_anew(store: ArtifactStore, draft: Path):
    group = zarr.open_group(draft / "outputs.zarr", mode="r+")["clean"]
    assert isinstance(group, zarr.Group)
    gather(group, PARTS[0])
    flip_a_bit(draft / "outputs.zarr/clean/shown/c/0/0/0")
    writer = open_writer(draft)
    assert writer.remove_damaged() == writer.missing() == []
    writer.gather()
    assert np.array_equal(commit(store).view_fields(0, 40, 0), fields_of(np.arange(40), 0))


def test_damage_and_loss_of_what_was_gathered_are_told(store: ArtifactStore, draft: Path):
    open_writer(draft).gather()
    outputs = commit(store)
    path = outputs.folder / "outputs.zarr/augmented/shown/c/0/0/0"
    flip_a_bit(path)
    with pytest.raises(CorruptArtifactError, match=r"a chunk of .*shown, rows 0 to 260, is damaged"):
        outputs.view_fields(0, 10, 1)
    path.unlink()
    with pytest.raises(CorruptArtifactError, match=r"shown/c/0/0/0 is missing"):
        outputs.thumbnails(0, 10, 1)
    assert "outputs.zarr/augmented/shown/c/0/0/0" in {damage.file for damage in verify(store, REF)}


def test_without_what_was_to_be_gathered_nothing_is_committed(store: ArtifactStore, draft: Path):
    with pytest.raises(DraftError, match="which every artifact of its stage holds"):
        commit(store)
    assert len(small_files(draft)) == 2 * (1 + 3 * 5)
