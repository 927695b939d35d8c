"""Only the files that a stage declares are committed."""

import logging
import re
from pathlib import Path

import pytest

from taskdistill.storage.contents import Contents
from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.errors import DraftError
from taskdistill.storage.files import all_files, read_json, write_json
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.storage.artifacts import recipe_of, tear

MODEL = Contents(made=("best.bin", "parts/*.json"), optional=("*.html",), working=("checkpoint.bin", "notes/*"))
REF = ArtifactRef("model", "f" * 64)


@pytest.fixture
def draft(store: ArtifactStore) -> Path:
    """The draft of a model, as its stage leaves it, with what serves only the making."""
    draft = store.draft(REF, recipe_of("model", {}))
    for name in ("best.bin", "parts/0.json", "page.html", "checkpoint.bin", "notes/0.json"):
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_text("{}")
    return draft


def commit(store: ArtifactStore) -> None:
    store.commit(REF, recipe=recipe_of("model", {}), inputs={}, summary={}, contents=MODEL)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in all_files(folder)]


def test_declared_files_are_committed_and_what_served_the_making_goes_without_a_word(
    store: ArtifactStore, draft: Path, caplog: pytest.LogCaptureFixture
):
    commit(store)
    assert names(store.path(REF)) == ["best.bin", MANIFEST, "page.html", "parts/0.json"]
    assert store.manifest(REF).files.keys() == {"best.bin", "page.html", "parts/0.json"}
    assert not (store.path(REF) / "notes").exists()
    assert caplog.text == ""


def test_other_files_such_as_a_killed_librarys_temporaries_are_removed_and_named(
    store: ArtifactStore, draft: Path, caplog: pytest.LogCaptureFixture
):
    (draft / ".tmpnKBDYY").write_text("half a model")
    (draft / "parts" / "stranger.txt").touch()
    with caplog.at_level(logging.WARNING):
        commit(store)
    assert names(store.path(REF)) == ["best.bin", MANIFEST, "page.html", "parts/0.json"]
    assert "2 files in the draft are none of the artifact's and are removed: .tmpnKBDYY, parts/str" in caplog.text


def test_a_draft_without_a_declared_file_is_not_committed_and_the_file_is_named(store: ArtifactStore, draft: Path):
    (draft / "parts" / "0.json").unlink()
    with pytest.raises(DraftError, match=re.escape("has no file 'parts/*.json'")):
        commit(store)
    assert REF not in store
    assert (draft / "checkpoint.bin").is_file()


@pytest.mark.parametrize("how", ["empty", "half"])
def test_a_declared_file_that_is_not_whole_is_removed_and_not_committed(store: ArtifactStore, draft: Path, how: str):
    tear(draft / "parts" / "0.json", how)
    with pytest.raises(DraftError, match=r"1 file of model@ffffffffffff was not whole.*parts/0\.json: it is"):
        commit(store)
    assert REF not in store
    assert not (draft / "parts" / "0.json").exists()
    assert (draft / "checkpoint.bin").is_file()


# --- a commit that was killed before its rename ------------------------------------------------------------------


@pytest.fixture
def killed(store: ArtifactStore, draft: Path) -> Path:
    """A draft whose commit was killed between its manifest and its rename, when the checkpoint was gone."""
    commit(store)
    store.path(REF).rename(draft)
    return draft


def test_a_draft_with_a_manifest_that_fits_is_published_as_it_is(store: ArtifactStore, killed: Path):
    made = read_json(killed / MANIFEST)
    (killed / "left.bin").touch()
    write_json(killed / DRAFT, {})
    assert store.finish_commit(REF, MODEL)
    assert read_json(store.path(REF) / MANIFEST) == made
    assert names(store.path(REF)) == ["best.bin", MANIFEST, "page.html", "parts/0.json"]


@pytest.mark.parametrize("name", ["best.bin", MANIFEST])
@pytest.mark.parametrize("how", ["empty", "half", "zeros"])
def test_a_draft_with_a_manifest_that_does_not_fit_is_a_draft_like_any_other(
    store: ArtifactStore, killed: Path, name: str, how: str
):
    tear(killed / name, how)
    assert not store.finish_commit(REF, MODEL)
    assert REF not in store
    assert not (killed / MANIFEST).exists()
    assert store.draft(REF, recipe_of("model", {})) == killed
    (killed / "best.bin").write_text("{}")
    commit(store)
    assert names(store.path(REF)) == ["best.bin", MANIFEST, "page.html", "parts/0.json"]


def test_there_is_nothing_to_finish_without_a_draft(store: ArtifactStore):
    assert not store.finish_commit(REF, MODEL)
