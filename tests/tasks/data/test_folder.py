"""Dataset form "folder": split/class/file or class/file."""

from pathlib import Path

import pytest

from configs.data import IngestConfig
from tasks.data.candidates import DatasetError
from tasks.data.folder import list_images


def listed(folder: Path, *files: str) -> list[tuple[str, str, str]]:
    """Make empty files and list them as (id, label, split)."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return [(found.id, found.label, found.split) for found in list_images(IngestConfig(path=str(folder))).candidates]


def test_top_folders_that_are_all_splits_are_splits(tmp_path: Path) -> None:
    assert listed(tmp_path, "train/cat/1.jpg", "test/dog/2.jpg") == [
        ("test/dog/2.jpg", "dog", "test"),
        ("train/cat/1.jpg", "cat", "train"),
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("Training", "train"),
        ("TEST", "test"),
        ("testing", "test"),
    ],
)
def test_splits_go_by_many_names(tmp_path: Path, name: str, split: str) -> None:
    assert listed(tmp_path, f"{name}/cat/1.jpg") == [(f"{name}/cat/1.jpg", "cat", split)]


def test_top_folders_that_are_not_all_splits_are_classes(tmp_path: Path) -> None:
    assert listed(tmp_path, "cat/1.jpg", "train/2.jpg") == [("cat/1.jpg", "cat", ""), ("train/2.jpg", "train", "")]


def test_files_may_lie_deeper_than_their_class(tmp_path: Path) -> None:
    assert listed(tmp_path, "cat/2021/may/1.jpg") == [("cat/2021/may/1.jpg", "cat", "")]
    assert listed(tmp_path / "b", "train/cat/may/1.jpg") == [("train/cat/may/1.jpg", "cat", "train")]


def test_files_beside_the_class_folders_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    found = listed(
        tmp_path, "README.txt", "train/notes.txt", "train/cat/.DS_Store", ".git/cat/1.jpg", "train/cat/1.jpg"
    )
    assert [name for name, _, _ in found] == ["train/cat/1.jpg"]


def test_files_that_are_no_images_are_listed_so_that_ingest_can_name_them(tmp_path: Path) -> None:
    assert listed(tmp_path, "cat/Thumbs.db", "cat/1.jpg")[1] == ("cat/Thumbs.db", "cat", "")


def test_a_folder_linked_into_the_dataset_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.jpg").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cat").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "data") == [("cat/1.jpg", "cat", "")]


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    assert listed(tmp_path, "kočka/snímek č. 1.jpg", "猫/一.jpg") == [
        ("kočka/snímek č. 1.jpg", "kočka", ""),
        ("猫/一.jpg", "猫", ""),
    ]


def test_a_folder_without_class_folders_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no class folders: expected class/file.jpg or train/class/file.jpg"):
        listed(tmp_path, "1.jpg", "2.jpg")


def test_splits_without_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has split folders but no class folders in them"):
        listed(tmp_path, "train/1.jpg", "test/2.jpg")


@pytest.mark.parametrize("path", ["", "/nowhere/at/all"])
def test_a_path_that_is_no_folder_is_refused(path: str) -> None:
    with pytest.raises(DatasetError, match=f"data.path is '{path}', which is not a folder"):
        list_images(IngestConfig(path=path))


def test_a_stray_folder_beside_splits_is_named_rather_than_taken_for_a_class(tmp_path: Path) -> None:
    for top in ("train", "test", "annotations"):
        (tmp_path / top / "cat").mkdir(parents=True)
        (tmp_path / top / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"split folders \(test, train\) beside others \(annotations\)"):
        list_images(IngestConfig(path=str(tmp_path)))
