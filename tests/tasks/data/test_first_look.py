"""Files that cannot be images are told before anything is decoded."""

from pathlib import Path

import pytest
from PIL import Image

from taskdistill.tasks.data import first_look
from taskdistill.tasks.data.candidates import Candidate
from taskdistill.tasks.data.first_look import said_of_broken


def pictures(folder: Path, number: int) -> list[Candidate]:
    names = [f"{place:03d}.jpg" for place in range(number)]
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)
    return [Candidate(name, folder, "cat", "train") for name in names]


def test_of_sound_files_nothing_is_said(tmp_path: Path) -> None:
    assert said_of_broken(pictures(tmp_path, 5), 0.02, "data") == []
    assert said_of_broken([], 0.02, "data") == []


def test_an_empty_file_and_one_of_text_are_named_with_what_becomes_of_the_run(tmp_path: Path) -> None:
    found = pictures(tmp_path, 50)
    (tmp_path / "007.jpg").write_bytes(b"")
    (said,) = said_of_broken(found, 0.02, "data")
    assert said == "empty or no images: 1 file, such as '007.jpg'. It will be set aside"
    (tmp_path / "009.jpg").write_text("not found")
    (said,) = said_of_broken(found, 0.02, "data")
    assert said.startswith("empty or no images: 2 files, such as '007.jpg', '009.jpg'. That is more than data.max_q")
    assert said.endswith("the run will stop: repair or remove them")


def test_of_many_files_some_are_looked_at_from_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_look, "LOOKED_AT", 10)
    found = pictures(tmp_path, 40)
    for place in (0, 36):
        (tmp_path / f"{place:03d}.jpg").write_bytes(b"")
    (said,) = said_of_broken(found, 0.02, "data")
    assert said.startswith("empty or no images: 2 files of 10 that were looked at, such as '000.jpg', '036.jpg'")


def test_of_a_large_file_the_header_alone_is_read(tmp_path: Path) -> None:
    (found,) = pictures(tmp_path, 1)
    with found.path.open("ab") as file:
        file.truncate(2**40)  # of which nothing is on the disk
    assert said_of_broken([found], 0.02, "data") == []
