"""Verify, discard and collect."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from storage.errors import CorruptArtifactError, NotInStoreError, StillNeededError
from storage.files import read_json, write_json
from storage.manifest import MANIFEST, ArtifactRef
from storage.store import ArtifactStore
from storage.upkeep import collect, collectable, dependents, discard, verify
from tests.storage.artifacts import commit, commit_every_format, flip_a_bit, recipe_of

NOW = datetime.now(UTC)


class Chain(NamedTuple):
    """images -> features -> logits, and a second artifact from the same images."""

    images: ArtifactRef
    features: ArtifactRef
    logits: ArtifactRef
    model: ArtifactRef


@pytest.fixture
def chain(store: ArtifactStore) -> Chain:
    images = commit(store, "image-set")
    features = commit(store, "features", inputs={"images": images})
    logits = commit(store, "logits", inputs={"features": features})
    return Chain(images, features, logits, commit(store, "model", inputs={"images": images}))


@pytest.fixture
def every_format(store: ArtifactStore) -> ArtifactRef:
    """One artifact with every kind of file that artifacts hold."""
    return commit_every_format(store)


def damages(store: ArtifactStore, ref: ArtifactRef) -> list[tuple[str, str]]:
    return [(damage.file, damage.problem) for damage in verify(store, ref)]


def edit_manifest(store: ArtifactStore, ref: ArtifactRef, edit: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    path = store.path(ref) / MANIFEST
    manifest = read_json(path)
    edit(manifest)
    write_json(path, manifest)


def made(store: ArtifactStore, ref: ArtifactRef, when: datetime) -> None:
    edit_manifest(store, ref, lambda manifest: manifest["provenance"].update(made=when.isoformat()))


# --- verify
# ------------------------------------------------------------------------------------------------------------


def test_an_undamaged_artifact_of_every_format_passes(store: ArtifactStore, every_format: ArtifactRef):
    assert damages(store, every_format) == []


def test_one_flipped_bit_is_found_in_every_kind_of_file(store: ArtifactStore, every_format: ArtifactRef):
    folder = store.path(every_format)
    names = list(store.manifest(every_format).files)
    assert {Path(name).suffix for name in names} == {".parquet", ".json", ".safetensors", ""}
    for name in names:
        flip_a_bit(folder / name)
        assert damages(store, every_format) == [(name, "its bytes are not the ones that were committed")]
        flip_a_bit(folder / name)


def test_a_missing_and_an_extra_file_are_found(store: ArtifactStore, every_format: ArtifactRef):
    folder = store.path(every_format)
    (folder / "outputs.zarr" / "outputs" / "c" / "0" / "0" / "0").unlink()
    (folder / "notes.txt").touch()
    assert damages(store, every_format) == [
        ("notes.txt", "not in the manifest"),
        ("outputs.zarr/outputs/c/0/0/0", "missing"),
    ]


def test_an_edited_recipe_is_found(store: ArtifactStore, chain: Chain):
    edit_manifest(store, chain.logits, lambda manifest: manifest["recipe"]["config"].update(seed=1))
    [(file, problem)] = damages(store, chain.logits)
    assert (file, problem) == (
        MANIFEST,
        "the recipe does not have the fingerprint the artifact is named by",
    )


def test_inputs_that_are_not_the_ones_of_the_recipe_are_found(store: ArtifactStore, chain: Chain):
    edit_manifest(store, chain.logits, lambda manifest: manifest["inputs"].update(features=str(chain.model)))
    assert damages(store, chain.logits) == [(MANIFEST, "the inputs it names are not those of the recipe")]


def test_a_manifest_that_cannot_be_read_is_found(store: ArtifactStore, chain: Chain):
    flip_a_bit(store.path(chain.logits) / MANIFEST, position=0)
    [(file, problem)] = damages(store, chain.logits)
    assert file == MANIFEST
    assert "cannot be read" in problem


# --- discard
# -----------------------------------------------------------------------------------------------------------


def test_everything_made_from_an_artifact_is_known_the_last_made_first(store: ArtifactStore, chain: Chain):
    found = dependents(store, [chain.images])
    assert set(found) == {chain.features, chain.logits, chain.model}
    assert found.index(chain.logits) < found.index(chain.features)
    assert dependents(store, [chain.features]) == [chain.logits]


def test_discarding_is_refused_while_others_were_made_from_it(store: ArtifactStore, chain: Chain):
    with pytest.raises(StillNeededError, match=rf"1 artifacts were made from {chain.features.short}: .*logits@"):
        discard(store, chain.features)
    assert set(store.references()) == set(chain)


def test_discarding_takes_the_dependents_along_when_told_and_nothing_else(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    store.label("birds", chain.images)
    assert discard(store, chain.features, with_dependents=True) == [chain.logits, chain.features]
    assert set(store.references()) == {chain.images, chain.model}
    assert store.labels() == {"birds": chain.images}


def test_a_discarded_artifact_leaves_no_bytes_behind(store: ArtifactStore, chain: Chain):
    discard(store, chain.logits)
    assert not [path for path in store.root.rglob(f"*{chain.logits.fingerprint}*") if path.parent.name != "locks"]


def test_a_draft_can_be_discarded(store: ArtifactStore):
    ref = ArtifactRef("features", "f" * 64)
    draft = store.draft(ref, recipe_of("features", {}))
    assert discard(store, ref) == [ref]
    assert not draft.exists()


def test_discarding_what_is_not_there_is_an_error(store: ArtifactStore):
    with pytest.raises(NotInStoreError):
        discard(store, ArtifactRef("features", "f" * 64))


def test_an_artifact_with_an_unreadable_manifest_can_still_be_discarded(
    store: ArtifactStore, chain: Chain, caplog: pytest.LogCaptureFixture
):
    flip_a_bit(store.path(chain.logits) / MANIFEST, position=0)
    with caplog.at_level(logging.WARNING):
        assert discard(store, chain.logits) == [chain.logits]
    assert "unreadable manifest" in caplog.text


# --- collect
# -----------------------------------------------------------------------------------------------------------


def test_what_no_label_reaches_can_be_collected_dependents_before_their_sources(store: ArtifactStore, chain: Chain):
    found = collectable(store)
    assert set(found) == set(chain)
    assert found.index(chain.logits) < found.index(chain.features) < found.index(chain.images)
    assert found.index(chain.model) < found.index(chain.images)


def test_a_labelled_artifact_is_kept_with_all_its_sources(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    assert collectable(store) == [chain.model]


def test_the_inputs_of_a_draft_are_kept_with_all_their_sources(store: ArtifactStore, chain: Chain):
    store.draft(ArtifactRef("probe", "f" * 64), recipe_of("probe", {"features": chain.features}))
    assert set(collectable(store)) == {chain.logits, chain.model}


def test_what_was_made_recently_is_kept_with_all_its_sources(store: ArtifactStore, chain: Chain):
    for ref in chain:
        made(store, ref, NOW - timedelta(days=30))
    made(store, chain.features, NOW - timedelta(days=1))
    assert set(collectable(store, newer_than=NOW - timedelta(days=7))) == {chain.logits, chain.model}


def test_an_unreadable_manifest_does_not_keep_others_from_being_collected(store: ArtifactStore, chain: Chain):
    for ref in chain:
        made(store, ref, NOW - timedelta(days=30))
    flip_a_bit(store.path(chain.model) / MANIFEST, position=0)
    assert set(collectable(store, newer_than=NOW - timedelta(days=7))) == set(chain)


def test_nothing_is_collected_while_the_sources_of_a_kept_artifact_cannot_be_read(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    flip_a_bit(store.path(chain.features) / MANIFEST, position=0)
    with pytest.raises(CorruptArtifactError, match=rf"{chain.features.short} is to be kept, but its manifest"):
        collectable(store)


def test_collecting_removes_exactly_what_it_is_given_and_its_labels(store: ArtifactStore, chain: Chain):
    store.label("student", chain.model)
    store.label("birds", chain.images)
    collect(store, [chain.model])
    assert set(store.references()) == {chain.images, chain.features, chain.logits}
    assert store.labels() == {"birds": chain.images}
