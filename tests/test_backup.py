"""Backup and move of a store, by the commands of OPERATING.md."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.root import ID_FILE
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from tests.storage.artifacts import commit, recipe_of

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

COPIES = re.findall(r"^rsync .*$", (Path(__file__).parents[1] / "OPERATING.md").read_text(), re.MULTILINE)
NAMES = ["artifacts", "birds", "drafts", "labels", "locks", "roots"]
"""Of labels: some are called like the rooms of a store."""


def copy(line: str, **places: Path) -> None:
    for name, place in places.items():
        line = re.sub(rf"\b{name}\b", str(place), line)
    subprocess.run(line, shell=True, check=True)


@pytest.fixture
def filled(store: ArtifactStore) -> ArtifactStore:
    """A store with two artifacts, labels, a draft, and a name."""
    images = commit(store, "image-set")
    features = commit(store, "features", inputs={"images": images})
    for name in NAMES:
        store.label(name, features)
    recipe = recipe_of("model", {})
    ref = ArtifactRef("model", "f" * 64)
    with store.lock(ref):
        (store.draft(ref, recipe) / "half").write_text("made")
    (store.root / ID_FILE).write_text("1234\n")
    (store.root / "views" / images.fingerprint).mkdir(parents=True)
    return store


def test_a_backup_made_while_a_run_goes_on_has_every_artifact_that_its_labels_name(
    filled: ArtifactStore, tmp_path: Path
) -> None:
    labels, everything = (line for line in COPIES if "STORE" in line)
    backup = ArtifactStore(tmp_path / "backup")
    copy(labels, STORE=filled.root, BACKUP=backup.root)
    before = filled.labels()
    # Its artifact is finished after the others were copied: the folders are copied by their names.
    filled.label("birds", commit(filled, "aaa"))
    copy(
        everything.replace("--exclude", "--exclude /artifacts/aaa --exclude", 1), STORE=filled.root, BACKUP=backup.root
    )
    assert backup.labels() == before
    assert sorted(before) == NAMES
    assert set(before.values()) <= set(backup.references())
    assert not (backup.root / ID_FILE).exists()
    assert list(backup.drafts()) == []
    assert not (backup.root / "views").exists()
    assert [ref for ref in backup.references() if list(verify(backup, ref))] == []


def test_a_store_without_labels_is_copied_too(store: ArtifactStore, tmp_path: Path) -> None:
    commit(store, "image-set")
    for line in (line for line in COPIES if "STORE" in line):
        copy(line, STORE=store.root, BACKUP=tmp_path / "backup")
    assert ArtifactStore(tmp_path / "backup").references() == store.references()


def test_a_store_that_was_moved_has_all_of_it_but_the_locks(filled: ArtifactStore, tmp_path: Path) -> None:
    (line,) = [line for line in COPIES if "OLD" in line]
    copy(line, OLD=filled.root, NEW=tmp_path / "new")
    moved = ArtifactStore(tmp_path / "new")
    assert (moved.labels(), moved.references(), list(moved.drafts())) == (
        filled.labels(),
        filled.references(),
        list(filled.drafts()),
    )
    assert (moved.root / ID_FILE).read_text() == "1234\n"
    assert not (moved.root / "locks").exists()
    assert not (moved.root / "views").exists()
