"""What is known of a dataset before an image is decoded: what is said of it, and what it is refused for."""

import math
import os
from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.counts import NO_LABEL, described, standard_error, warnings
from taskdistill.tasks.data.dataset import open_dataset

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 51234\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten empty pictures of cats and ten of dogs in train, two of each in val and in test."""
    for split, count in (("train", 10), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / split / name / f"{number}.jpg").touch()
    return tmp_path


def summary(folder: Path, **settings: object) -> dict[str, object]:
    return open_dataset(IngestConfig(path=str(folder), **settings)).summary().as_json()


def test_classes_are_counted_in_each_split(folder: Path) -> None:
    (folder / "test/dog/0.jpg").unlink()
    found = summary(folder)
    assert found["counts"] == {"cat": {"train": 10, "val": 2, "test": 2}, "dog": {"train": 10, "val": 2, "test": 1}}
    assert (found["splits"], found["classes"]) == ({"train": 20, "val": 4, "test": 3}, 2)


def test_only_the_smallest_of_very_many_classes_are_counted_in_a_manifest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskdistill.tasks.data.dataset.MAX_CLASSES", 1)
    (folder / "train/dog/0.jpg").unlink()
    assert summary(folder)["counts"] == {"dog": {"train": 9, "val": 2, "test": 2}}


def test_pointers_of_git_lfs_in_place_of_pictures_are_refused_with_the_command(folder: Path) -> None:
    (folder / "train/dog/3.jpg").write_text(POINTER)
    with pytest.raises(DatasetError, match=r"^1 file is a pointer .* as 'train/dog/3.jpg': run 'git lfs pull'"):
        summary(folder)
    for path in folder.rglob("*.jpg"):
        path.write_text(POINTER)
    with pytest.raises(DatasetError, match=r"^at least 10 files are pointers"):
        summary(folder)


def test_one_name_that_is_no_utf8_is_left_out_and_said(folder: Path) -> None:
    for number in range(80):
        (folder / f"train/cat/more{number}.jpg").touch()
    rename_to_latin1(folder / "train/cat/0.jpg")
    dataset = open_dataset(IngestConfig(path=str(folder)))
    assert len(dataset.candidates) == 107
    assert [(one.path, one.reason) for one in dataset.left_out] == [(r"train/cat/caf\xe9.jpg", "name is not UTF-8")]
    assert dataset.said[0].startswith(r"1 picture has a name that is not UTF-8, such as 'train/cat/caf\\xe9.jpg'")


def test_more_such_names_than_may_be_set_aside_are_refused(folder: Path) -> None:
    rename_to_latin1(folder / "train/cat/0.jpg")
    with pytest.raises(DatasetError, match=r"max_quarantined_share = 0.02 allows: rename it; 'convmv"):
        summary(folder)


def rename_to_latin1(path: Path) -> None:
    os.rename(path, os.fsencode(path.parent) + b"/caf\xe9.jpg")


# --- counts --------------------------------------------------------------------------------------------------------


def test_the_standard_error_is_that_of_a_share() -> None:
    assert standard_error(100, 0.5) == pytest.approx(0.05)
    assert standard_error(400) == pytest.approx(math.sqrt(0.8 * 0.2 / 400))


def test_a_held_out_split_is_small_below_400_images() -> None:
    counts = {"cat": {"train": 9, "val": 200, "test": 200}, "dog": {"train": 9, "val": 200, "test": 199}}
    assert warnings(counts) == [
        "test has 399 images: an accuracy of 80% on it has a standard error of 2.0 points, so smaller differences "
        "between models say nothing"
    ]


def test_a_split_of_one_image_is_spoken_of_in_the_singular() -> None:
    counts = {"cat": {"train": 9, "val": 1, "test": 400}, "dog": {"train": 9, "val": 0, "test": 400}}
    assert warnings(counts)[1].startswith("val has 1 image: an accuracy of 80% on it")


def test_classes_that_a_held_out_split_lacks_are_named() -> None:
    counts = {name: {"train": 9, "val": 500 * (name > "b"), "test": 500} for name in "abcdef"}
    assert warnings(counts) == ["val has no image of 2 of 6 classes, so no score tells of 'a', 'b'"]


def test_a_dataset_is_described_in_a_line() -> None:
    counts = {"cat": {"train": 90, "val": 5, "test": 2}, "dog": {"train": 9, "val": 5, "test": 1}}
    assert described(counts) == (
        "2 classes, images: train 99, val 10, test 3; for training from 9 of 'dog' to 90 of 'cat'"
    )
    counts["dog"]["train"] = 90
    assert described(counts).endswith("test 3; for training 90 of each class")
    bare = {NO_LABEL: {"train": 9, "val": 5, "test": 2}}
    assert described(bare) == "images without labels: train 9, val 5, test 2"
