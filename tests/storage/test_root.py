"""Where a store may lie, and what is said of a place where it cannot be read, written or locked."""

import os
import subprocess
from pathlib import Path

import pytest

from taskdistill.storage.errors import StoreError
from taskdistill.storage.root import ID_FILE, ROOT_VARIABLE, check_writable, root_from
from taskdistill.storage.store import ArtifactStore


@pytest.mark.parametrize(
    "text", ["~/birds", "birds", "./birds", "../{name}/birds", "{parent}/birds", "{parent}/birds/"]
)
def test_one_folder_may_be_named_in_many_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = root_from(text.format(name=tmp_path.name, parent=tmp_path))
    assert Path(os.path.normpath(root)) == tmp_path / "birds"


@pytest.mark.parametrize("name", ["[red]", "{0}", "%s", ":smile:", "two words", "b\u00e4ume", "# 2"])
def test_a_store_may_have_any_name_that_a_folder_may_have(tmp_path: Path, name: str):
    assert root_from(str(tmp_path / name)) == tmp_path / name


def test_making_a_store_does_no_work_and_its_folder_appears_with_the_first_artifact(tmp_path: Path):
    ArtifactStore(tmp_path / "store")
    root_from(str(tmp_path / "store"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "TASKDISTILL_STORE is set to an empty text"),
        (" ", "TASKDISTILL_STORE is set to an empty text"),
        ("s3://bucket/birds", "'s3://bucket/birds', but a store is a folder of a mounted file system"),
        ("file:///birds", "a store is a folder of a mounted file system"),
        ("~nobody-of-this-name/birds", "Could not determine home directory"),
    ],
)
def test_text_that_names_no_folder_is_refused_with_an_example(text: str, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ROOT_VARIABLE, text)
    with pytest.raises(StoreError, match=message) as error:
        ArtifactStore.from_env()
    assert "such as ~/artifacts" in str(error.value)


def test_a_file_is_no_store_and_neither_is_a_folder_below_it_or_a_link_to_nothing_or_to_itself(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in [
        ("file", "file is a file"), ("file/store", r"file/store cannot be there, as .*file is a file"),
        ("link", "link is a link to nothing"), ("loop/store", "loop is a link to nothing"),
    ]:  # fmt: skip
        with pytest.raises(StoreError, match=rf"the store .*{message}") as error:
            root_from(str(tmp_path / name))
        assert ROOT_VARIABLE in str(error.value)


def test_a_link_to_a_folder_is_a_store(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to("disk")
    check_writable(root_from(str(tmp_path / "store")))
    assert (tmp_path / "disk" / "drafts").is_dir()


def test_a_folder_that_can_be_written_passes_and_nothing_is_left_in_it_but_empty_folders(tmp_path: Path):
    check_writable(tmp_path / "store")
    assert [path.name for path in sorted((tmp_path / "store").rglob("*"))] == ["artifacts", "drafts", "locks"]


def test_a_store_whose_part_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "drafts").write_text("")
    with pytest.raises(StoreError, match=rf"nothing can be made in the store {tmp_path}"):
        check_writable(tmp_path)


def test_a_store_on_a_disk_that_can_only_be_read_says_so(tiny_disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StoreError, match=r"nothing can be made in the store .*Read-only file system") as error:
        check_writable(tiny_disk / "store")
    assert "let TASKDISTILL_STORE name another folder" in str(error.value)


def test_the_store_that_a_worker_names_is_taken_wherever_it_is_mounted_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("share", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ID_FILE).write_text(f"id of the {name}\n")
    (tmp_path / "not-mounted").mkdir()
    monkeypatch.setenv("TASKDISTILL_STORE_ID", "id of the share")

    def store(name: str) -> ArtifactStore:
        monkeypatch.setenv("TASKDISTILL_STORE", str(tmp_path / name))
        return ArtifactStore.from_env()

    assert store("share").references() == []
    (tmp_path / "share").rename(tmp_path / "elsewhere")
    assert store("elsewhere").references() == []
    with pytest.raises(StoreError, match="other is another store than this worker was started with"):
        store("other")
    for name in ("not-mounted", "nowhere"):
        with pytest.raises(StoreError, match=f"{name} is not the store that this worker was started with: see that"):
            store(name)
    assert list((tmp_path / "not-mounted").iterdir()) == []
