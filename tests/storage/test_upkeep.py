"""Verify and discard."""

import logging
from pathlib import Path

import pytest

from taskdistill.storage.errors import NotInStoreError, StillNeededError
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import dependents, discard, to_discard, verify, verify_all
from tests.storage.artifacts import (
    Chain,
    commit_chain,
    commit_every_format,
    edit_manifest,
    flip_a_bit,
    make_older,
    recipe_of,
)


@pytest.fixture
def chain(store: ArtifactStore) -> Chain:
    return commit_chain(store)


@pytest.fixture
def every_format(store: ArtifactStore) -> ArtifactRef:
    """One artifact with every kind of file that artifacts hold."""
    return commit_every_format(store)


def damages(store: ArtifactStore, ref: ArtifactRef) -> list[tuple[str, str]]:
    return [(damage.file, damage.problem) for damage in verify(store, ref)]


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
    (folder / "outputs.zarr" / "clean" / "outputs" / "c" / "0" / "0" / "0").unlink()
    (folder / "notes.txt").touch()
    assert damages(store, every_format) == [
        ("notes.txt", "not in the manifest"),
        ("outputs.zarr/clean/outputs/c/0/0/0", "missing"),
    ]


def test_an_edited_recipe_is_found(store: ArtifactStore, chain: Chain):
    make_older(store, chain.logits)
    edit_manifest(store, chain.logits, lambda manifest: manifest["recipe"]["config"].update(seed=1))
    [(file, problem)] = damages(store, chain.logits)
    assert (file, problem) == (
        MANIFEST,
        "the recipe does not have the fingerprint the artifact is named by",
    )


def test_inputs_that_are_not_the_ones_of_the_recipe_are_found(store: ArtifactStore, chain: Chain):
    make_older(store, chain.logits)
    edit_manifest(store, chain.logits, lambda manifest: manifest["inputs"].update(features=str(chain.model)))
    assert damages(store, chain.logits) == [(MANIFEST, "the inputs it names are not those of the recipe")]


@pytest.mark.parametrize("field", ["summary", "provenance", "files"])
def test_a_changed_score_date_or_digest_is_found_by_the_digest_of_the_manifest(
    store: ArtifactStore, chain: Chain, field: str
):
    changes = {"summary": {"seed": 7}, "provenance": {"made": "2020-01-01T00:00:00+00:00"}, "files": {}}
    edit_manifest(store, chain.logits, lambda manifest: manifest.update({field: changes[field]}))
    [(file, problem)] = damages(store, chain.logits)
    assert file == MANIFEST
    assert "was changed after it was committed" in problem


def test_a_manifest_made_before_they_had_a_digest_is_counted_and_no_damage(store: ArtifactStore, chain: Chain):
    make_older(store, chain.logits)
    found = verify_all(store)
    assert (found.num_verified, found.num_without_digest, found.damages, found.unreadable) == (4, 1, [], [])


def test_a_folder_without_a_manifest_is_named_with_what_to_do(store: ArtifactStore, chain: Chain):
    (store.path(chain.logits) / MANIFEST).unlink()
    [damage] = verify_all(store).damages
    assert damage.ref == chain.logits
    assert "has no manifest: an interrupted copy, or a link to nothing" in damage.problem
    assert f"run 'taskdistill discard {chain.logits.short}'" in damage.problem


def test_a_linked_folder_inside_an_artifact_is_verified_like_any_other(store: ArtifactStore, tmp_path: Path):
    ref = commit_every_format(store)
    (store.path(ref) / "shards").rename(tmp_path / "bigger disk")
    (store.path(ref) / "shards").symlink_to(tmp_path / "bigger disk")
    assert damages(store, ref) == []


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
    with pytest.raises(StillNeededError, match=rf"1 artifact was made from {chain.features.short}: .*logits@"):
        discard(store, chain.features)
    assert set(store.references()) == set(chain)


def test_discarding_takes_the_dependents_along_when_told_and_nothing_else(store: ArtifactStore, chain: Chain):
    store.label("spare", chain.features)
    store.label("birds", chain.images)
    assert discard(store, chain.features, with_dependents=True) == [chain.logits, chain.features]
    assert set(store.references()) == {chain.images, chain.model}
    assert store.labels() == {"birds": chain.images}


def test_labels_of_what_was_made_from_it_are_named_before_anything_goes(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    asked = pytest.raises(StillNeededError, match=rf"labels: teacher \({chain.logits.short}\).* with --with-labels")
    with asked:
        discard(store, chain.features, with_dependents=True)
    assert set(store.references()) == set(chain)
    assert discard(store, chain.features, with_dependents=True, with_labels=True) == [chain.logits, chain.features]
    assert store.labels() == {}


def test_an_interrupted_copy_can_be_discarded_by_the_beginning_of_its_name(store: ArtifactStore, chain: Chain):
    (store.path(chain.features) / MANIFEST).unlink()
    ref = to_discard(store, chain.features.short)
    assert discard(store, ref) == [chain.features]
    assert not (store.root / "artifacts" / "features" / chain.features.fingerprint).exists()
    assert chain.logits in store


def test_a_draft_of_another_kind_than_asked_for_is_not_discarded(store: ArtifactStore, chain: Chain):
    store.draft(ArtifactRef("probe", chain.logits.fingerprint[:12] + "0" * 52), recipe_of("probe", {}))
    assert to_discard(store, chain.logits.short) == chain.logits


def test_a_beginning_that_fits_a_draft_and_an_artifact_discards_neither(store: ArtifactStore, chain: Chain):
    draft = ArtifactRef("logits", chain.logits.fingerprint[:12] + "0" * 52)
    store.draft(draft, recipe_of("logits", {}))
    with pytest.raises(NotInStoreError, match="say which"):
        to_discard(store, chain.logits.short)
    assert to_discard(store, str(draft)) == draft
    assert to_discard(store, str(chain.logits)) == chain.logits


def test_a_label_is_discarded_as_what_it_names_though_a_draft_begins_like_it(store: ArtifactStore, chain: Chain):
    store.draft(ArtifactRef("probe", "beef" * 16), recipe_of("probe", {}))
    store.label("beef", chain.logits)
    assert to_discard(store, "beef") == chain.logits


def test_a_draft_of_which_a_worker_makes_a_part_is_not_discarded(store: ArtifactStore):
    ref = ArtifactRef("features", "f" * 64)
    draft = store.draft(ref, recipe_of("features", {}))
    with store.lock(ref, part="0-7"), pytest.raises(StillNeededError, match="a worker makes a part of features@ffff"):
        discard(store, ref)
    assert draft.is_dir()
    assert discard(store, ref) == [ref]


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
    assert f"what {chain.logits.short} was made from is unknown" in caplog.text
