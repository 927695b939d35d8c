"""Finding, labelling, drafting and committing artifacts."""

import hashlib
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.errors import CorruptArtifactError, NotInStoreError, StoreError
from taskdistill.storage.files import all_files, read_json, write_json
from taskdistill.storage.manifest import ArtifactRef, Manifest, check_file
from taskdistill.storage.root import ROOT_VARIABLE
from taskdistill.storage.store import PROGRESS, ArtifactStore
from tests.storage.artifacts import TEARS, commit, edit_manifest, flip_a_bit, make_older, recipe_of, tear

DRAFTED = ArtifactRef("features", "f" * 64)
ABCD0, ABCD1 = ArtifactRef("features", "abcd0" + "0" * 59), ArtifactRef("logits", "abcd1" + "1" * 59)


@pytest.fixture
def images(store: ArtifactStore) -> ArtifactRef:
    return commit(store, "image-set", files={"images.bin": b"abc"})


@pytest.fixture
def two_alike(store: ArtifactStore) -> ArtifactStore:
    """A store of two artifacts whose fingerprints begin alike."""
    for ref in (ABCD0, ABCD1):
        store.draft(ref, recipe_of(ref.kind, {}))
        store.commit(ref, recipe=recipe_of(ref.kind, {}), inputs={}, summary={})
    return store


# --- finding
# -----------------------------------------------------------------------------------------------------------


def test_an_artifact_that_was_never_made_is_not_there_and_the_error_says_what_to_do(store: ArtifactStore):
    assert DRAFTED not in store
    with pytest.raises(NotInStoreError, match=r"features@ffffffffffff is not in the store .*: run its stage"):
        store.path(DRAFTED)


def test_a_committed_artifact_is_found_in_the_documented_place(store: ArtifactStore, images: ArtifactRef):
    assert images in store
    assert store.path(images) == store.root / "artifacts" / "image-set" / images.fingerprint
    assert store.references() == [images]


def test_artifacts_are_listed_by_kind(store: ArtifactStore, images: ArtifactRef):
    features = commit(store, "features", inputs={"images": images})
    assert store.references() == [features, images]
    assert store.references("features") == [features]


def test_a_label_a_reference_and_the_beginning_of_a_fingerprint_name_the_same_artifact(two_alike: ArtifactStore):
    two_alike.label("birds-v1", ABCD0)
    for text in ("birds-v1", str(ABCD0), ABCD0.short, "features@abcd", "abcd0", ABCD0.fingerprint):
        assert two_alike.resolve(text) == ABCD0


def test_a_beginning_that_fits_two_artifacts_is_refused_with_both_names(two_alike: ArtifactStore):
    with pytest.raises(NotInStoreError, match=r"'abcd' fits 2 artifacts: features@abcd00000000, logits@abcd11111111"):
        two_alike.resolve("abcd")


@pytest.mark.parametrize(
    "text", ["abd", "abc", "", "@", "features@", "*", "features@*", "../artifacts", "logits@abcd0"]
)
def test_text_that_names_nothing_is_refused(two_alike: ArtifactStore, text: str):
    with pytest.raises(NotInStoreError, match="is neither a label nor a reference in the store"):
        two_alike.resolve(text)


def test_an_artifact_of_another_kind_than_needed_is_refused(two_alike: ArtifactStore):
    with pytest.raises(NotInStoreError, match=r"'abcd0' is a features, but a logits is needed here"):
        two_alike.resolve("abcd0", kind="logits")


def test_the_store_lies_where_the_environment_says_and_else_in_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert ArtifactStore.from_env().root == tmp_path / "artifacts"
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "elsewhere"))
    assert ArtifactStore.from_env().root == tmp_path / "elsewhere"


# --- labels
# ------------------------------------------------------------------------------------------------------------


def test_a_label_moves_from_one_artifact_to_another(two_alike: ArtifactStore):
    two_alike.label("best", ABCD0)
    two_alike.label("best", ABCD1)
    assert two_alike.labels() == {"best": ABCD1}


def test_a_removed_label_is_gone_and_removing_it_again_is_no_error(two_alike: ArtifactStore):
    two_alike.label("best", ABCD0)
    two_alike.remove_label("best")
    two_alike.remove_label("best")
    assert two_alike.labels() == {}


@pytest.mark.parametrize("name", ["", "../best", "a/b", ".hidden", "-flag", "zwei wörter", "a" * 101, "best.partial"])
def test_a_name_that_cannot_be_a_label_is_refused_with_an_example(store: ArtifactStore, images: ArtifactRef, name: str):
    with pytest.raises(StoreError, match="cannot be a label: use letters, digits"):
        store.label(name, images)
    assert store.labels() == {}


def test_a_label_points_only_at_what_is_there(store: ArtifactStore):
    with pytest.raises(NotInStoreError):
        store.label("best", DRAFTED)
    assert store.labels() == {}


@pytest.mark.parametrize("text", ["", "{", "3", '"features"', "\0\0\0"])
def test_a_label_that_cannot_be_read_stops_no_other_and_is_named_when_asked_for(two_alike: ArtifactStore, text: str):
    two_alike.label("best", ABCD0)
    two_alike.label("torn", ABCD1)
    (two_alike.root / "labels" / "torn").write_text(text)
    assert two_alike.labels() == {"best": ABCD0}
    assert two_alike.resolve("best") == ABCD0
    [problem] = two_alike.unreadable()
    with pytest.raises(NotInStoreError) as refused:
        two_alike.resolve("torn")
    assert str(refused.value) == problem
    assert "the label 'torn' cannot be read" in problem
    two_alike.label("torn", ABCD1)
    assert (two_alike.resolve("torn"), two_alike.unreadable()) == (ABCD1, [])


def test_what_desktop_programs_put_beside_labels_is_no_label(two_alike: ArtifactStore):
    two_alike.label("best", ABCD0)
    (two_alike.root / "labels" / ".DS_Store").write_bytes(b"\0")
    (two_alike.root / "labels" / "folder").mkdir()
    assert two_alike.labels() == {"best": ABCD0}
    assert two_alike.unreadable() == []


def test_a_label_is_on_the_disk_with_its_folder_before_it_is_said_to_be_set(tmp_path: Path):
    """Seen by strace: each rename and each new folder is followed by a sync of the folder it stands in."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = """
import sys
from pathlib import Path
from taskdistill.storage.labels import Labels
from taskdistill.storage.manifest import ArtifactRef
Labels(Path(sys.argv[1]) / "labels").point("best", ArtifactRef("model", "a" * 64))
print("set")
"""
    log = tmp_path / "calls"
    command = ["strace", "-f", "-y", "-e", "trace=rename,renameat,renameat2,mkdir,fsync,write", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-c", program, str(tmp_path)], check=True, stdout=subprocess.PIPE)
    calls = log.read_text().splitlines()
    renamed = next(number for number, call in enumerate(calls) if "rename" in call and "labels/best" in call)
    said = next(number for number, call in enumerate(calls) if "write(1" in call)
    assert any("fsync" in call and f"{tmp_path}/labels>" in call for call in calls[renamed:said])
    assert any("fsync" in call and f"{tmp_path}>" in call for call in calls[:said])


# --- making
# ------------------------------------------------------------------------------------------------------------


def test_a_draft_survives_its_maker_and_loses_only_what_was_half_written(store: ArtifactStore):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    (draft / "chunk").write_text("whole")
    (draft / "next.123.partial").write_text("ha")
    again = ArtifactStore(store.root).draft(DRAFTED, recipe_of("features", {}))
    assert again == draft
    assert [path.name for path in all_files(again)] == [DRAFT, "chunk"]
    assert store.drafts() == {DRAFTED: draft}
    assert DRAFTED not in store


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reference": "features"}', "\0\0\0"])
def test_a_draft_whose_record_cannot_be_read_is_named_and_continued(store: ArtifactStore, text: str):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    (draft / "chunk").write_text("whole")
    (draft / DRAFT).write_text(text)
    assert store.drafts() == {ArtifactRef("draft", DRAFTED.fingerprint): draft}
    [problem] = store.unreadable()
    assert "the record of the draft draft@ffffffffffff cannot be read" in problem
    store.draft(DRAFTED, recipe_of("features", {}))
    assert (draft / "chunk").read_text() == "whole"
    assert store.drafts() == {DRAFTED: draft}
    assert store.unreadable() == []


@pytest.mark.parametrize("text", ["", "{", "\0\0\0"])
def test_progress_that_cannot_be_read_is_no_progress(store: ArtifactStore, text: str):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    (draft / PROGRESS).write_text(text)
    assert store.progress(DRAFTED) == {}


def test_continuing_a_draft_that_another_commit_began_is_said(store: ArtifactStore, caplog: pytest.LogCaptureFixture):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    write_json(draft / DRAFT, read_json(draft / DRAFT) | {"commit": "0123456789abcdef"})
    with caplog.at_level(logging.WARNING):
        store.draft(DRAFTED, recipe_of("features", {}))
    assert "continuing features@ffffffffffff begun by commit 0123456789ab" in caplog.text


@pytest.mark.parametrize("how", TEARS)
def test_a_draft_whose_record_a_power_cut_tore_is_continued(store: ArtifactStore, how: str):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    whole = read_json(draft / DRAFT)
    (draft / "chunk").write_text("whole")
    tear(draft / DRAFT, how)
    assert store.draft(DRAFTED, recipe_of("features", {})) == draft
    assert read_json(draft / DRAFT) == whole
    assert (draft / "chunk").read_text() == "whole"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "it is empty"),
        (b"[]", "no whole JSON object"),
        (b'{"ref', "no whole JSON object"),
        (b"{}", "lacks entries"),
    ],
)
def test_a_manifest_that_is_none_is_refused_in_words_of_ours(store: ArtifactStore, data: bytes, found: str):
    ref = commit(store, "image-set", files={"images.bin": b"abc"})
    (store.path(ref) / "manifest.json").write_bytes(data)
    with pytest.raises(
        CorruptArtifactError, match=rf"manifest.json cannot be read \(.*{found}.*\): run 'taskdistill"
    ) as e:
        store.manifest(ref)
    assert "pydantic" not in str(e.value)


@pytest.mark.parametrize("how", TEARS)
def test_progress_that_a_power_cut_tore_is_unknown(store: ArtifactStore, how: str):
    write_json(store.draft(DRAFTED, recipe_of("features", {})) / PROGRESS, {"unit": "views", "done": 3, "total": 9})
    tear(store.draft_path(DRAFTED) / PROGRESS, how)
    assert store.progress(DRAFTED) == {}


def test_the_progress_of_a_draft_can_be_read_and_is_empty_without_one(store: ArtifactStore):
    assert store.progress(DRAFTED) == {}
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    write_json(draft / PROGRESS, {"unit": "views", "done": 3, "total": 9})
    assert store.progress(DRAFTED) == {"unit": "views", "done": 3, "total": 9}


def test_a_manifest_holds_recipe_inputs_summary_digests_and_origin(store: ArtifactStore, images: ArtifactRef):
    recipe = recipe_of("features", {"images": images})
    draft = store.draft(DRAFTED, recipe)
    (draft / "deep").mkdir()
    (draft / "deep" / "chunk").write_bytes(b"defg")
    store.commit(DRAFTED, recipe=recipe, inputs={"images": images}, summary={"rows": 4}, settings={"name": "birds"})
    manifest = store.manifest(DRAFTED)
    assert manifest.ref == DRAFTED
    assert manifest.recipe == recipe
    assert manifest.input_refs == {"images": images}
    assert manifest.summary == {"rows": 4}
    assert manifest.num_bytes == 4
    assert {name: (record.sha256, record.num_bytes) for name, record in manifest.files.items()} == {
        "deep/chunk": (hashlib.sha256(b"defg").hexdigest(), 4)
    }
    assert manifest.provenance["settings"] == {"name": "birds"}
    assert manifest.provenance["packages"]["numpy"]
    assert manifest.provenance["begun_by_commit"]


def test_a_commit_leaves_no_draft_and_no_working_files(store: ArtifactStore):
    draft = store.draft(DRAFTED, recipe_of("features", {}))
    (draft / "chunk").write_text("whole")
    (draft / "left.partial").touch()
    write_json(draft / PROGRESS, {"done": 1})
    store.commit(DRAFTED, recipe=recipe_of("features", {}), inputs={}, summary={})
    assert sorted(path.name for path in store.path(DRAFTED).iterdir()) == ["chunk", "manifest.json"]
    assert store.drafts() == {}
    assert not draft.exists()


# --- reading what was committed
# ------------------------------------------------------------------------------------------


def test_a_file_is_handed_out_only_with_the_bytes_that_were_committed(store: ArtifactStore, images: ArtifactRef):
    folder = store.path(images)
    assert check_file(folder, "images.bin") == folder / "images.bin"
    flip_a_bit(folder / "images.bin")
    with pytest.raises(CorruptArtifactError, match=rf"taskdistill discard {images.short} --with-dependents"):
        check_file(folder, "images.bin")
    (folder / "images.bin").unlink()
    with pytest.raises(CorruptArtifactError, match="missing from its artifact"):
        check_file(folder, "images.bin")


@pytest.mark.parametrize("text", ["", "{", '{"reference": 3}'])
def test_a_manifest_that_cannot_be_read_is_a_damaged_artifact(store: ArtifactStore, images: ArtifactRef, text: str):
    (store.path(images) / "manifest.json").write_text(text)
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json cannot be read"):
        store.manifest(images)


def test_a_manifest_that_was_changed_is_not_believed(store: ArtifactStore, images: ArtifactRef):
    edit_manifest(store, images, lambda manifest: manifest["summary"].update(seed=1))
    with pytest.raises(
        CorruptArtifactError, match=r"was changed after it was committed.*taskdistill discard image-set@"
    ):
        store.manifest(images)


def test_a_manifest_from_before_they_had_a_digest_is_believed(store: ArtifactStore, images: ArtifactRef):
    make_older(store, images)
    edit_manifest(store, images, lambda manifest: manifest["summary"].update(seed=1))
    assert store.manifest(images).summary == {"seed": 1}
    assert store.manifest(images).digest == ""


def test_the_digest_of_a_manifest_is_that_of_the_text_before_it(store: ArtifactStore, images: ArtifactRef):
    text = (store.path(images) / "manifest.json").read_bytes()
    before, _, after = text.rpartition(b',\n  "digest": "')
    assert after.decode() == hashlib.sha256(before).hexdigest() + '"\n}\n'
    assert json.loads(text)["summary"] == {"seed": 0}


def test_an_artifact_that_has_just_been_removed_is_said_to_be(tmp_path: Path):
    with pytest.raises(NotInStoreError, match="has just been removed: run the same command again"):
        Manifest.read(tmp_path / "gone")


def test_recipes_to_compare_with_leave_out_what_cannot_be_read(two_alike: ArtifactStore):
    recipe = recipe_of("features", {}, seed=2)
    other = ArtifactRef("features", "c" * 64)
    two_alike.draft(other, recipe)
    two_alike.commit(other, recipe=recipe, inputs={}, summary={})
    (two_alike.path(ABCD0) / "manifest.json").write_bytes(b"")
    assert list(two_alike.recipes("features")) == [(other, recipe)]


def test_a_reference_is_written_as_kind_and_fingerprint_and_read_back():
    assert str(ABCD0) == f"features@{ABCD0.fingerprint}"
    assert ArtifactRef.parse(str(ABCD0)) == ABCD0
    with pytest.raises(NotInStoreError, match="'features' is not a reference such as"):
        ArtifactRef.parse("features")


def test_a_manifest_is_read_as_it_was_written(store: ArtifactStore, images: ArtifactRef, tmp_path: Path):
    manifest = store.manifest(images)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
