"""Files and folders of a store have the permissions that umask gives them, so that a group can share it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from taskdistill.storage.collecting import collect
from taskdistill.storage.files import open_as_others_are
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import write_tensors
from tests.storage.artifacts import commit, commit_every_format, recipe_of, write_every_format

UMASKS = {"a group may write": 0o002, "a group may read": 0o027, "everybody may read": 0o022, "nobody else": 0o077}


@pytest.fixture(params=UMASKS)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(UMASKS[request.param])
    yield UMASKS[request.param]
    os.umask(before)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_a_store_follows_the_umask(store: ArtifactStore, umask: int, tmp_path: Path):
    ref = commit_every_format(store)
    store.label("best", ref)
    write_every_format(store.draft(ArtifactRef("features", "f" * 64), recipe_of("features", {})))
    (tmp_path / "picture.png").touch()
    store.sources.digest(str(tmp_path / "picture.png"))
    commit(store, "logits")
    collect(store)
    with store.roots.held([ref]):
        files = {path: permissions(path) for path in store.root.rglob("*") if path.is_file()}
    folders = {path: permissions(path) for path in store.root.rglob("*") if path.is_dir()}
    assert {path.parent.name for path in files} >= {"labels", "locks", "roots", "sources", "shards"}
    assert [path for path, mode in files.items() if mode != 0o666 & ~umask] == []
    assert [path for path, mode in folders.items() if mode != 0o777 & ~umask] == []


def test_weights_follow_what_their_folder_gives_to_new_files(tmp_path: Path):
    """As in a folder of a group: files made there belong to the group."""
    tmp_path.chmod(0o2775)
    write_tensors(tmp_path / "model.safetensors", {})
    (tmp_path / "other").touch()
    assert permissions(tmp_path / "model.safetensors") == permissions(tmp_path / "other")


def test_a_folder_that_a_library_filled_with_weights_follows_the_umask_and_nothing_else_in_it_changes(
    tmp_path: Path, umask: int
):
    (tmp_path / "unet").mkdir()
    save_file({}, tmp_path / "unet" / "model.safetensors")
    (tmp_path / "run.sh").touch(0o700)
    open_as_others_are(tmp_path)
    assert permissions(tmp_path / "unet" / "model.safetensors") == 0o666 & ~umask
    assert permissions(tmp_path / "run.sh") == 0o700 & ~umask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.sh", "unet"]
