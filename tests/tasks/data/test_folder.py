"""Dataset form "folder": which files of it are images of which class and split, and what is left out."""

import os
import unicodedata
from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.folder import list_images


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


def left_out(folder: Path, **files: bytes) -> dict[str, str]:
    """List a folder that has these files, and a picture of each of two classes besides; return what is left out."""
    for file, content in {"cat/1.jpg": b"", "dog/2.jpg": b"", **files}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    listing = list_images(IngestConfig(path=str(folder)))
    assert {found.id for found in listing.candidates} >= {"cat/1.jpg", "dog/2.jpg"}
    assert not {found.id for found in listing.candidates} & {one.path for one in listing.left_out}
    return {one.path: one.reason for one in listing.left_out}


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("cat/Thumbs.db", b"\xd0\xcf\x11\xe0", "litter"),
        ("cat/Desktop.ini", b"", "litter"),
        ("cat/Icon\r", b"", "litter"),
        ("~$labels.xlsx", b"", "litter"),
        ("__MACOSX/cat/1.jpg", b"\xff\xd8\xff", "litter"),
        ("cat/@eaDir/1.jpg", b"\xff\xd8\xff", "litter"),
        ("cat/.1.jpg", b"", "hidden"),
        ("cat/1.xml", b"<annotation/>", "not an image"),
        ("cat/1.TXT", b"0 0.5 0.5", "not an image"),
        ("cat/README", b"Photographs of cats", "not an image"),
        ("cat/2.part", b"", "not an image"),
    ],
)
def test_what_is_no_picture_is_left_out_with_its_reason(tmp_path: Path, file: str, content: bytes, reason: str) -> None:
    found = left_out(tmp_path, **{file: content})
    assert found[file] == reason
    assert set(found.values()) == {reason}


def test_a_picture_beside_the_class_folders_is_left_out(tmp_path: Path) -> None:
    others = {f"cat/{number}.png": b"" for number in range(8)}  # so that it is one of eleven
    assert left_out(tmp_path, **others, **{"collage.jpg": b""}) == {"collage.jpg": "in no class folder"}


@pytest.mark.parametrize("begin", [b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"BM"])
def test_a_file_without_an_ending_is_a_picture_if_it_begins_like_one(tmp_path: Path, begin: bytes) -> None:
    assert left_out(tmp_path, **{"cat/snapshot": begin + bytes(20)}) == {}


def test_a_picture_by_its_ending_is_one_whatever_it_holds_so_that_ingest_names_it_as_broken(tmp_path: Path) -> None:
    assert left_out(tmp_path, **{"cat/page.jpg": b"<html>", "cat/3.HEIC": b"", "dog/empty.png": b""}) == {}


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "train/dodo/deep").mkdir(parents=True)
    (tmp_path / "val").mkdir()
    for name in ("train/cat/1.jpg", "train/dog/deep/2.jpg", "annotations/cat/1.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = list_images(IngestConfig(path=str(tmp_path)))
    empty = [one.path for one in listing.left_out if one.reason == "no images in it"]
    assert empty == ["annotations", "val", "annotations/cat", "train/dodo"]
    assert listing.said[0].startswith("4 folders hold no images and are left out: 'annotations', 'val'")


def test_a_link_back_into_the_dataset_a_pipe_and_a_device_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/all").symlink_to("..")
    os.mkfifo(tmp_path / "cat/pipe.jpg")
    (tmp_path / "cat/zero.jpg").symlink_to("/dev/zero")
    assert left_out(tmp_path) == {
        "cat/all": "link loop", "cat/pipe.jpg": "pipe or device", "cat/zero.jpg": "pipe or device",
    }  # fmt: skip


def test_one_class_may_be_written_in_two_unicode_forms_and_with_blanks(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "bär") for form in ("NFC", "NFD"))
    found = listed(
        tmp_path, f"train/{composed}/1.jpg", f"test/{decomposed}/2.jpg", "train/elk /3.jpg", "test/elk/4.jpg"
    )
    assert {(label, split) for _, label, split in found} == {
        (composed, "train"), (composed, "test"), ("elk", "train"), ("elk", "test"),
    }  # fmt: skip
    assert {path for path, _, _ in found} >= {f"test/{decomposed}/2.jpg", "train/elk /3.jpg"}  # ids stay the paths


def test_two_folders_of_one_split_that_become_one_class_are_said(tmp_path: Path) -> None:
    listed(tmp_path, "elk/1.jpg", "elk /2.jpg", "owl/3.jpg")
    (said,) = list_images(IngestConfig(path=str(tmp_path))).said
    assert said == (
        "2 folders whose names differ only in blanks or Unicode form are read as the class 'elk': 'elk', 'elk '"
    )


def test_what_was_decided_about_splits_and_depth_is_said(tmp_path: Path) -> None:
    listed(tmp_path, "train/cat/1.jpg", "eval/cat/may/2.jpg", "train/dog/3.jpg")
    assert list_images(IngestConfig(path=str(tmp_path))).said == [
        "'eval' is read as the test split",
        "1 image lies deeper than its class folder, such as 'eval/cat/may/2.jpg' of the class 'cat': folders in a "
        "class folder are no classes",
    ]


@pytest.mark.parametrize(
    "name", ["[red]cat[bold]", "{} %s {0.__class__}", "--help", "a'b\"c", "tab\there", "$x^2$", "\u202eright to left"]
)
def test_names_that_programs_would_obey_are_names(tmp_path: Path, name: str) -> None:
    assert listed(tmp_path, f"{name}/{name}.jpg") == [(f"{name}/{name}.jpg", name, "")]


def test_a_folder_whose_name_is_blank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has a name of blanks only: rename it"):
        listed(tmp_path, " /1.jpg", "cat/2.jpg")


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


@pytest.mark.parametrize(
    ("files", "found"), [([], "it is empty"), (["photos.zip", "a/b.txt", ".x"], "not an image 2, hidden 1")]
)
def test_a_folder_without_pictures_is_refused_with_what_it_holds(tmp_path: Path, files: list[str], found: str) -> None:
    with pytest.raises(DatasetError, match=rf"holds no pictures \({found}\): .* archives must be unpacked first"):
        listed(tmp_path, *files)


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
    with pytest.raises(DatasetError, match=r"split folders \(test, train\) beside others \('annotations'\)"):
        list_images(IngestConfig(path=str(tmp_path)))
