"""What is kept, why, and what goes."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskdistill.storage.collecting import Collection, collect, collectable
from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard, verify_all
from tests.storage.artifacts import Chain, commit, commit_chain, flip_a_bit, recipe_of

NOW = datetime.now(UTC)
LAST_WEEK = NOW - timedelta(days=7)


@pytest.fixture
def chain(store: ArtifactStore) -> Chain:
    return commit_chain(store)


def made(store: ArtifactStore, ref: ArtifactRef, when: str) -> None:
    manifest = store.manifest(ref)
    manifest.model_copy(update={"provenance": manifest.provenance | {"made": when}}).write(store.path(ref))


def made_last_month(store: ArtifactStore) -> None:
    for ref in store.references():
        made(store, ref, (NOW - timedelta(days=30)).isoformat())


# --- what is kept, and why
# -----------------------------------------------------------------------------------------------


def test_what_nothing_needs_goes_dependents_before_what_they_were_made_from(store: ArtifactStore, chain: Chain):
    found = collectable(store)
    assert (set(found.goes), found.kept, found.doubts) == (set(chain), {}, [])
    assert found.goes.index(chain.logits) < found.goes.index(chain.features) < found.goes.index(chain.images)
    assert found.goes.index(chain.model) < found.goes.index(chain.images)


def test_a_labelled_artifact_is_kept_with_all_it_was_made_from_and_it_says_why(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    found = collectable(store)
    assert found.goes == [chain.model]
    assert found.kept == {
        chain.logits: "it has the label teacher",
        chain.features: f"{chain.logits.short}, which was made from it, is kept: it has the label teacher",
        chain.images: f"{chain.logits.short}, which was made from it, is kept: it has the label teacher",
    }


def test_what_a_draft_is_made_from_is_kept_with_all_that_was_made_from(store: ArtifactStore, chain: Chain):
    draft = ArtifactRef("probe", "f" * 64)
    store.draft(draft, recipe_of("probe", {"features": chain.features}))
    found = collectable(store)
    assert set(found.goes) == {chain.logits, chain.model}
    assert found.kept[chain.features] == f"the unfinished {draft.short} is made from it"


def test_what_was_made_recently_is_kept_with_all_it_was_made_from(store: ArtifactStore, chain: Chain):
    made_last_month(store)
    made(store, chain.features, "2999-01-01T10:30:00+00:00")
    found = collectable(store, newer_than=LAST_WEEK)
    assert set(found.goes) == {chain.logits, chain.model}
    assert found.kept[chain.features] == (
        f"it was made 2999-01-01 10:30 UTC, and what was made since {LAST_WEEK:%Y-%m-%d %H:%M} UTC is kept"
    )


@pytest.mark.parametrize("when", ["yesterday", "", "2999-01-01T10:30:00"])
def test_a_date_that_cannot_be_compared_loses_nothing(store: ArtifactStore, chain: Chain, when: str):
    made_last_month(store)
    made(store, chain.model, when)
    assert chain.model in collectable(store, newer_than=LAST_WEEK).kept


def test_what_a_running_run_needs_is_kept_however_old_it_is(store: ArtifactStore, chain: Chain):
    still_to_be_made = ArtifactRef("evaluation", "e" * 64)
    made_last_month(store)
    with store.roots.held([chain.logits, still_to_be_made]):
        found = collect(store, newer_than=LAST_WEEK)
        assert found.goes == [chain.model]
        assert f"a run needs it (process {os.getpid()} on " in found.kept[chain.logits]
    assert set(collectable(store, newer_than=LAST_WEEK).goes) == {chain.logits, chain.features, chain.images}


# --- evaluations
# ---------------------------------------------------------------------------------------------------------


def evaluations(store: ArtifactStore, chain: Chain) -> Mapping[str, ArtifactRef]:
    """Scores of a student, of another student with the same teacher, and of the teacher, which is a probe."""
    probe = commit(store, "probe", inputs={"features": chain.features})
    teacher = commit(store, "logits", inputs={"features": chain.features, "probe": probe})
    other = commit(store, "model", inputs={"images": chain.images}, seed=1)
    of = {"images": chain.images}
    return {
        "probe": probe,
        "teacher": teacher,
        "scores": commit(store, "evaluation", inputs=of | {"model": chain.model, "teacher": teacher}),
        "scores of other": commit(store, "evaluation", inputs=of | {"model": other, "teacher": teacher}),
        "scores of teacher": commit(store, "evaluation", inputs=of | {"logits": teacher}),
    }


def kept_evaluations(found: Collection) -> set[ArtifactRef]:
    return {ref for ref in found.kept if ref.kind == "evaluation"}


def test_a_labelled_model_keeps_its_own_scores_only(store: ArtifactStore, chain: Chain):
    known = evaluations(store, chain)
    store.label("student", chain.model)
    found = collectable(store)
    assert kept_evaluations(found) == {known["scores"]}
    assert found.kept[known["scores"]] == (f"it holds the scores of {chain.model.short}, which has the label student")
    assert known["teacher"] in found.kept


@pytest.mark.parametrize("labelled", ["teacher", "probe"])
def test_labelled_logits_or_the_probe_they_come_from_keep_the_scores_of_the_teacher(
    store: ArtifactStore, chain: Chain, labelled: str
):
    known = evaluations(store, chain)
    store.label("best", known[labelled])
    assert kept_evaluations(collectable(store)) == {known["scores of teacher"]}


def test_a_labelled_image_set_or_a_draft_made_from_it_keeps_no_scores(store: ArtifactStore, chain: Chain):
    evaluations(store, chain)
    store.label("birds", chain.images)
    store.draft(ArtifactRef("features", "f" * 64), recipe_of("features", {"images": chain.images}))
    assert list(collectable(store).kept) == [chain.images]


# --- what cannot be known
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "3", '"features"', "\0\0\0"])
def test_nothing_goes_while_a_label_cannot_be_read_and_the_remedy_is_said(
    store: ArtifactStore, chain: Chain, text: str
):
    store.label("best", chain.logits)
    (store.root / "labels" / "best").write_text(text)
    found = collect(store)
    assert found.goes == []
    assert set(found.kept) == set(chain) == set(store.references())
    assert "'taskdistill label best REFERENCE', or remove the file" in found.doubts[0]
    store.label("best", chain.logits)
    assert collect(store).goes == [chain.model]


def test_nothing_goes_while_the_record_of_a_draft_cannot_be_read(store: ArtifactStore, chain: Chain):
    draft = ArtifactRef("probe", "f" * 64)
    (store.draft(draft, recipe_of("probe", {"features": chain.features})) / DRAFT).write_bytes(b"")
    found = collect(store)
    assert found.goes == []
    assert "'taskdistill discard draft@ffffffffffff' removes it" in found.doubts[0]
    discard(store, ArtifactRef("draft", "f" * 64))
    assert set(collect(store).goes) == set(chain)


def test_an_unreadable_manifest_does_not_keep_others_from_going(store: ArtifactStore, chain: Chain):
    made_last_month(store)
    flip_a_bit(store.path(chain.model) / MANIFEST, position=0)
    assert set(collect(store, newer_than=LAST_WEEK).goes) == set(chain)


def test_nothing_goes_while_the_sources_of_something_kept_cannot_be_read(store: ArtifactStore, chain: Chain):
    store.label("teacher", chain.logits)
    flip_a_bit(store.path(chain.features) / MANIFEST, position=0)
    found = collect(store)
    assert found.goes == []
    assert f"{chain.features.short} is to be kept, but its manifest cannot be read" in found.doubts[0]


def test_what_goes_is_told_with_the_bytes_it_frees_and_a_link_frees_none(
    store: ArtifactStore, chain: Chain, tmp_path: Path
):
    place = store.path(chain.features)
    place.rename(tmp_path / "bigger disk")
    place.symlink_to(tmp_path / "bigger disk")
    store.label("birds", chain.images)
    flip_a_bit(store.path(chain.model) / MANIFEST, position=0)
    unreadable = (store.path(chain.model) / MANIFEST).stat().st_size
    found = collect(store)
    # Each holds one file with its kind's name as text.
    assert [found.num_bytes[ref] for ref in (chain.images, chain.features, chain.logits)] == [len("image-set"), 0, 6]
    assert found.freed_bytes == len("logits") + len("model") + unreadable


def test_what_is_no_artifact_is_neither_listed_nor_removed(store: ArtifactStore, chain: Chain):
    strangers = ["artifacts/lost+found", "artifacts/model/.Trash-1000", "artifacts/model/old copies", "drafts/notes"]
    for name in strangers:
        (store.root / name / "x").mkdir(parents=True)
        (store.root / name / MANIFEST).write_text("{}")
    for name in ("artifacts/.DS_Store", "artifacts/model/Thumbs.db", "labels.txt", "drafts/.DS_Store"):
        (store.root / name).write_bytes(b"\0")
    assert set(store.references()) == set(collect(store).goes) == set(chain)
    assert all((store.root / name / MANIFEST).is_file() for name in strangers)


# --- removing
# ------------------------------------------------------------------------------------------------------------


def test_what_goes_leaves_no_bytes_behind_nor_does_what_a_killed_removal_left(store: ArtifactStore, chain: Chain):
    store.label("birds", chain.images)
    store.remove(chain.logits)  # and then the process was killed
    collect(store)
    assert set(store.references()) == {chain.images}
    left = [path for path in store.root.rglob("*") if path.is_file() and "locks" not in path.parts]
    assert {path.name for path in left} == {"birds", "data.bin", MANIFEST}


def test_an_artifact_that_another_process_works_on_is_kept_and_the_others_go(store: ArtifactStore, chain: Chain):
    with store.lock(chain.model):
        found = collect(store)
    assert found.kept == {chain.model: f"{chain.model.short} is being built by another process: wait for it"}
    assert set(store.references()) == {chain.model}


def test_nothing_a_running_run_needs_is_discarded(store: ArtifactStore, chain: Chain):
    with store.roots.held([chain.logits]):
        with pytest.raises(StillNeededError, match=rf"a run needs {chain.logits.short} \(process \d+ on "):
            discard(store, chain.features, with_dependents=True)
        discard(store, chain.model)
    assert set(store.references()) == {chain.images, chain.features, chain.logits}


COLLECTOR = """
import sys
from pathlib import Path
from taskdistill.storage.collecting import collect
from taskdistill.storage.store import ArtifactStore
sys.stdin.readline()
print(len(collect(ArtifactStore(Path(sys.argv[1]))).goes))
"""


def test_two_that_collect_at_once_remove_each_artifact_once_and_a_third_may_look_on(store: ArtifactStore):
    for seed in range(30):
        place = store.root / "artifacts" / "model"
        ref = commit(store, "model", seed=seed) if seed == 0 else ArtifactRef("model", f"{seed:064x}")
        if seed:
            manifest = store.manifest(store.references()[-1])
            (place / ref.fingerprint).mkdir()
            manifest.model_copy(update={"reference": str(ref), "files": {}}).write(place / ref.fingerprint)
    command, pipe = [sys.executable, "-c", COLLECTOR, str(store.root)], subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    while any(process.poll() is None for process in both):
        verify_all(store)
        store.broken()
    said = [process.communicate() for process in both]
    assert [errors for _, errors in said] == ["", ""]
    assert sorted(int(count) for count, _ in said) == [0, 30]
    assert store.references() == []


# --- links and other file systems
# ----------------------------------------------------------------------------------------


def test_of_a_linked_artifact_the_link_goes_and_what_it_leads_to_stays(
    store: ArtifactStore, chain: Chain, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    elsewhere = tmp_path / "bigger disk"
    store.path(chain.features).rename(elsewhere)
    place = store.root / "artifacts" / "features" / chain.features.fingerprint
    place.symlink_to(elsewhere)
    assert set(collect(store).goes) == set(chain)
    assert store.references() == []
    assert not place.is_symlink()
    assert (elsewhere / MANIFEST).is_file()
    assert f"{place} is a link: {elsewhere}, which it leads to, stays" in caplog.text


def test_a_link_to_nothing_is_named_and_can_be_discarded(store: ArtifactStore, chain: Chain, tmp_path: Path):
    place = store.path(chain.model)
    place.rename(tmp_path / "unplugged")
    place.symlink_to(tmp_path / "nothing")
    assert [damage.ref for damage in verify_all(store).damages] == [chain.model]
    assert discard(store, chain.model) == [chain.model]
    assert store.broken() == {}


def test_artifacts_may_lie_on_another_file_system_than_drafts(store: ArtifactStore, tiny_disk: Path):
    store.root.mkdir()
    (store.root / "artifacts").symlink_to(tiny_disk)
    chain = commit_chain(store)
    assert set(store.references()) == set(chain)
    assert verify_all(store).damages == []
    assert list((store.root / "drafts").iterdir()) == []
    assert [path for path in tiny_disk.rglob(".*")] == []
    assert set(collect(store).goes) == set(chain)
    assert [path.name for path in tiny_disk.rglob("*") if path.is_file()] == []


def test_a_draft_may_be_a_link(store: ArtifactStore, tmp_path: Path):
    recipe = recipe_of("model", {})
    ref = ArtifactRef("model", fingerprint(recipe))
    draft = store.draft(ref, recipe)
    (draft / "data.bin").write_bytes(b"begun")
    draft.rename(tmp_path / "bigger disk")
    draft.symlink_to(tmp_path / "bigger disk")
    assert commit(store, "model") == ref
    assert verify_all(store).damages == []
    assert store.drafts() == {}


# --- what is in the way of a commit
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("obstacle", ["an interrupted copy", "a file", "a link to nothing"])
def test_what_is_in_the_way_of_an_artifact_is_set_aside_when_it_is_built(
    store: ArtifactStore, chain: Chain, obstacle: str, caplog: pytest.LogCaptureFixture
):
    place = store.path(chain.model)
    discard(store, chain.model)
    if obstacle == "an interrupted copy":
        place.mkdir()
        (place / "data.bin").write_bytes(b"mod")
    elif obstacle == "a file":
        place.write_bytes(b"mod")
    else:
        place.symlink_to(store.root / "nothing")
    assert chain.model not in store
    assert commit(store, "model", inputs={"images": chain.images}) == chain.model
    assert (place / "data.bin").read_bytes() == b"model"
    assert f"{place} was in the way and is no finished artifact" in caplog.text
    collect(store, newer_than=LAST_WEEK)
    assert [path.name for path in place.parent.iterdir()] == [place.name]
