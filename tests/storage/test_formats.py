"""Older formats are filled in, newer ones are told from damage, and neither enters a fingerprint."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
import zarr

from taskdistill.configs.data import IngestConfig
from taskdistill.storage import image_set, tables, view_outputs
from taskdistill.storage.columns import Columns
from taskdistill.storage.contents import ANYTHING
from taskdistill.storage.drafts import DRAFT, DraftRecord
from taskdistill.storage.errors import CorruptArtifactError, DraftError, NewerFormatError
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.formats import CONTINUES, FORMATS, UNFINISHED, Added, completed
from taskdistill.storage.image_set import ImageRow, ImageSet, class_names_of, write_index, write_shard
from taskdistill.storage.manifest import MANIFEST, ArtifactRef, Manifest, read_recipe
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import PAIRS, read_arrow, read_column, read_table
from taskdistill.storage.view_outputs import GROUP, ViewOutputs
from taskdistill.storage.weights import MODEL, ModelDescription
from taskdistill.tasks.catalog import INGEST
from tests.storage.artifacts import (
    DESCRIPTION,
    commit,
    commit_every_format,
    flip_a_bit,
    make_older,
    recipe_of,
    write_as_newer,
    write_every_format,
)

ROWS = [ImageRow("a.png", b"first", 8, 8, "train", 0, b"mask", None, 7), ImageRow("b.png", b"other", 8, 8, "train")]
WITHOUT = pa.schema([field for field in image_set.SCHEMA if field.name != "seed"])


def commit_images(store: ArtifactStore) -> Path:
    """Commit a small image-set in the present format, and return its folder."""
    ref = ArtifactRef("image-set", "a" * 64)
    draft = store.draft(ref, recipe_of("image-set", {}))
    write_shard(draft, 0, ROWS)
    write_index(draft, classes=["wren"], num_shards=1)
    store.commit(ref, recipe=recipe_of("image-set", {}), inputs={}, summary={})
    return store.path(ref)


# --- what older formats lack -------------------------------------------------------------------------------------


def test_what_came_later_is_neutral_in_older_formats_and_what_is_there_stays():
    added = {"scale": Added(2, 1.0), "note": Added(3, "")}
    assert completed({"width": 8}, added, 1) == {"width": 8, "scale": 1.0, "note": ""}
    assert completed({"width": 8, "scale": 0.5}, added, 2) == {"width": 8, "scale": 0.5, "note": ""}
    assert completed({"width": 8}, added, UNFINISHED) == {"width": 8}


def test_a_column_of_a_later_format_is_filled_in_at_its_place():
    columns = Columns(
        pa.schema([("id", pa.string()), ("depth", pa.int16()), ("seed", pa.int64())]), {"depth": Added(2, 3)}
    )
    old = pa.table({"id": ["a", "b"], "seed": [1, 2]})
    assert columns.in_format(1).names == ["id", "seed"]
    filled = columns.completed(old, 1)
    assert filled.schema == columns.schema
    assert filled.to_pylist() == [{"id": "a", "depth": 3, "seed": 1}, {"id": "b", "depth": 3, "seed": 2}]


def test_an_image_set_from_before_a_column_was_added_opens_with_its_neutral_value(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as before:
        before.setattr(image_set, "SCHEMA", WITHOUT)
        folder = commit_images(store)
    with pytest.raises(CorruptArtifactError, match="its columns are"):  # as it says that it has them
        ImageSet.open(folder)
    monkeypatch.setitem(FORMATS, "image-set", 3)
    monkeypatch.setattr(image_set, "ADDED", {"seed": Added(3, -1)})
    images = ImageSet.open(folder)
    assert (images.seeds, images.mask(0), images.mask(1)) == ([-1, -1], b"mask", None)
    assert (images.image(0), images.labels.tolist()) == (b"first", [0, -1])


def test_an_image_set_made_after_a_column_was_added_keeps_its_values_and_must_have_it(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FORMATS, "image-set", 3)
    monkeypatch.setattr(image_set, "ADDED", {"seed": Added(3, -1)})
    folder = commit_images(store)
    assert Manifest.read(folder).format == 3
    images = ImageSet.open(folder)
    assert (images.seeds, images.mask(0), images.mask(1)) == ([7, None], b"mask", None)
    with monkeypatch.context() as before:
        before.setattr(image_set, "SCHEMA", WITHOUT)
        draft = store.draft(ArtifactRef("image-set", "b" * 64), recipe_of("image-set", {}))
        write_shard(draft, 0, ROWS)
        write_index(draft, classes=["wren"], num_shards=1)
    with pytest.raises(CorruptArtifactError, match="its columns are"):
        ImageSet.open(draft)


def test_a_table_from_before_a_column_was_added_is_read_with_its_neutral_value(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    folder = store.path(commit_every_format(store))
    longer = tables.HISTORY.append(pa.field("ema", pa.float64()))
    monkeypatch.setitem(FORMATS, "model", 2)
    monkeypatch.setitem(tables.ADDED, "history.parquet", {"ema": Added(2, 0.25)})
    [row] = read_table(folder / "history.parquet")
    assert (row["loss"], row["ema"]) == (0.5, 0.25)
    assert read_column(folder / "history.parquet", "ema") == [0.25]
    assert read_column(folder / "history.parquet", "loss") == [0.5]
    table = read_arrow(folder, "history.parquet", longer)
    assert (table.schema, table["ema"].to_pylist()) == (longer, [0.25])
    with pytest.raises(CorruptArtifactError, match="has the columns"):
        read_arrow(folder, "history.parquet", PAIRS)


def test_a_description_from_before_a_field_was_added_means_its_neutral_value(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    class Later(ModelDescription):
        scale: float
        added = {"scale": Added(2, 1.0)}

    folder = store.path(commit_every_format(store))
    monkeypatch.setitem(FORMATS, "model", 2)
    assert Later.read(folder) == Later(**DESCRIPTION.model_dump(), scale=1.0)


def test_an_attribute_of_a_later_format_means_its_neutral_value(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of("logits", {})
    ref = ArtifactRef("logits", "c" * 64)
    write_every_format(store.draft(ref, recipe))
    store.commit(ref, recipe=recipe, inputs={}, summary={})
    monkeypatch.setitem(FORMATS, "logits", 5)
    monkeypatch.setitem(view_outputs.ADDED, "logits", {"precision": Added(5, "fp32")})
    outputs = ViewOutputs(store.path(ref))
    assert outputs.attributes == {"images": "i" * 64, "precision": "fp32"}
    outputs.require(precision="fp32")
    assert dict(zarr.open_group(outputs.folder / GROUP, mode="r").attrs) == {"images": "i" * 64}


def test_a_description_that_lacks_what_its_format_has_is_damaged(store: ArtifactStore):
    ref, recipe = ArtifactRef("model", "d" * 64), recipe_of("model", {})
    draft = store.draft(ref, recipe)
    write_json(draft / MODEL, {"problem": "classification"})
    store.commit(ref, recipe=recipe, inputs={}, summary={})
    with pytest.raises(CorruptArtifactError, match=r"model\.json lacks, .* backbone, preprocessing"):
        ModelDescription.read(store.path(ref))


def test_a_description_with_a_field_unknown_here_is_of_a_newer_version(store: ArtifactStore):
    ref, recipe = ArtifactRef("model", "d" * 64), recipe_of("model", {})
    draft = store.draft(ref, recipe)
    write_json(draft / MODEL, DESCRIPTION.model_dump() | {"palette": [1, 2]})
    store.commit(ref, recipe=recipe, inputs={}, summary={})
    with pytest.raises(NewerFormatError, match=r"model@dddd.* newer version .*model\.json has the entries 'palette'"):
        ModelDescription.read(store.path(ref))


def test_an_index_with_a_field_unknown_here_is_of_a_newer_version(store: ArtifactStore):
    ref, recipe = ArtifactRef("image-set", "a" * 64), recipe_of("image-set", {})
    draft = store.draft(ref, recipe)
    write_shard(draft, 0, ROWS)
    write_index(draft, classes=["wren"], num_shards=1)
    write_json(draft / image_set.INDEX, read_json(draft / image_set.INDEX) | {"palette": [0, 1]})
    store.commit(ref, recipe=recipe, inputs={}, summary={})
    for read in (ImageSet.open, class_names_of):
        with pytest.raises(NewerFormatError, match="'palette', which this version does not know"):
            read(store.path(ref))


# --- the number --------------------------------------------------------------------------------------------------


def test_a_commit_writes_the_format_of_its_kind(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FORMATS, "logits", 5)
    assert [store.manifest(commit(store, kind)).format for kind in ("logits", "model")] == [5, 1]


def test_a_manifest_without_a_format_has_the_first(store: ArtifactStore):
    ref = commit(store, "logits")
    fields = read_json(store.path(ref) / MANIFEST)
    del fields["format"]
    write_json(store.path(ref) / MANIFEST, fields)
    make_older(store, ref)
    assert store.manifest(ref).format == 1


def test_a_format_is_no_part_of_what_an_artifact_is_named_by(monkeypatch: pytest.MonkeyPatch):
    before = INGEST.reference(IngestConfig(), {}, {"path": "d" * 64})
    monkeypatch.setitem(FORMATS, "image-set", 9)
    assert INGEST.reference(IngestConfig(), {}, {"path": "d" * 64}) == before


# --- newer manifests ---------------------------------------------------------------------------------------------

NEWER = {
    "format": {"format": 5},
    "field": {"licence": "CC0"},
    "both": {"format": 5, "licence": "CC0"},
    "another shape": {"format": 5, "summary": [1, 2]},
    "field of a file": {"files": {"data.bin": {"sha256": "0" * 64, "num_bytes": 5, "crc": 1}}},
}


@pytest.mark.parametrize("changes", NEWER.values(), ids=NEWER.keys())
def test_a_manifest_of_a_newer_version_says_which_and_what_to_do(store: ArtifactStore, changes: dict[str, object]):
    ref = commit(store, "logits")
    write_as_newer(store.path(ref), **changes)
    for read in (Manifest.read, read_recipe) if "format" in changes else (Manifest.read,):
        with pytest.raises(NewerFormatError) as caught:
            read(store.path(ref))
        said = str(caught.value)
        assert said.startswith(
            f"{ref.short} was made by a newer version of this program (taskdistill 7.0.0, commit abcdef"
        )
        assert "Install that version or a newer one" in said
        assert "let TASKDISTILL_STORE name another store" in said
        assert not re.search("discard|damage", said)


def test_the_format_that_was_found_and_the_one_that_is_known_are_said(store: ArtifactStore):
    ref = commit(store, "logits")
    write_as_newer(store.path(ref), format=6)
    with pytest.raises(NewerFormatError, match="format 6 of the kind logits, and this version knows none above 4"):
        store.manifest(ref)


def test_a_flipped_bit_in_the_format_is_damage_and_no_newer_version(store: ArtifactStore):
    ref = commit(store, "logits")
    path = store.path(ref) / MANIFEST
    flip_a_bit(path, path.read_bytes().index(b'"format": 4') + len(b'"format": '))
    assert b'"format": 0' in path.read_bytes()
    with pytest.raises(CorruptArtifactError, match="changed after it was committed"):
        store.manifest(ref)


def test_a_flipped_bit_in_a_name_is_damage_also_where_manifests_had_no_digest(store: ArtifactStore):
    ref = commit(store, "logits")
    make_older(store, ref)
    path = store.path(ref) / MANIFEST
    flip_a_bit(path, path.read_bytes().index(b'"summary"') + 1)
    with pytest.raises(CorruptArtifactError, match="it lacks entries of a manifest"):
        store.manifest(ref)


def test_a_newer_recipe_is_not_compared_with(store: ArtifactStore):
    old, new = commit(store, "logits"), commit(store, "logits", seed=1)
    write_as_newer(store.path(new), format=5)
    assert [ref for ref, _ in store.recipes("logits")] == [old]


# --- drafts ------------------------------------------------------------------------------------------------------

REF = ArtifactRef("features", "f" * 64)


def begin(store: ArtifactStore, **changes: object) -> Path:
    """Begin a draft, and change its record as another version would have written it."""
    draft = store.draft(REF, recipe_of("features", {}))
    write_json(draft / DRAFT, read_json(draft / DRAFT) | changes)
    (draft / "half.partial").write_bytes(b"")
    return draft


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("changes", [{"format": 4}, {"host": "elsewhere"}], ids=["format", "field"])
def test_a_draft_begun_by_a_newer_version_is_left_as_it_is(store: ArtifactStore, changes: dict[str, object]):
    draft = begin(store, version="7.0.0", **changes)
    before = bytes_of(draft)
    for go_on in (lambda: store.draft(REF, {}), lambda: store.draft_of(REF)):
        with pytest.raises(NewerFormatError, match=r"the draft features@ffffffffffff was .* \(taskdistill 7\.0\.0"):
            go_on()
    assert bytes_of(draft) == before
    [problem] = store.unreadable()
    assert "what this draft is made from is unknown" in problem
    assert "discard" not in problem


def test_a_draft_begun_in_an_older_format_is_left_as_it_is_with_the_ways_to_go_on(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    draft = begin(store, version="0.0.9")
    before = bytes_of(draft)
    monkeypatch.setitem(FORMATS, "features", 4)
    monkeypatch.setitem(CONTINUES, "features", 4)
    with pytest.raises(
        DraftError, match=r"begun in format 3 by taskdistill 0\.0\.9 .*finish it with .*, or begin anew"
    ):
        store.draft(REF, recipe_of("features", {}))
    assert bytes_of(draft) == before


def test_a_record_from_before_formats_had_numbers_is_of_the_first(store: ArtifactStore):
    draft = store.draft(REF, recipe_of("features", {}))
    fields = read_json(draft / DRAFT)
    write_json(draft / DRAFT, {name: fields[name] for name in ("reference", "recipe", "commit")})
    record = DraftRecord.read(draft)
    assert record is not None
    assert (record.format, store.draft(REF, {})) == (1, draft)


def test_a_commit_that_a_newer_version_did_not_finish_is_left_to_it(store: ArtifactStore):
    ref = commit(store, "logits")
    store.path(ref).rename(store.draft_path(ref))
    write_as_newer(store.draft_path(ref), format=5)
    before = bytes_of(store.draft_path(ref))
    with pytest.raises(NewerFormatError):
        store.finish_commit(ref, ANYTHING)
    assert bytes_of(store.draft_path(ref)) == before
