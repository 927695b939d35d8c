"""What is to be predicted: folders, images and tables, each image once."""

from pathlib import Path

import pytest
from PIL import Image

from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.deploy.sources import listed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images in a folder, one of them deeper, with what programs leave beside them."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/b.png", "in/deep/a.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "in" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources: str) -> list[str]:
    return [image.name for image in listed(sources).images]


@pytest.mark.usefixtures("here")
def test_images_are_called_by_the_path_that_leads_to_them_from_where_the_command_is_given() -> None:
    assert names("in") == names("in/") == ["in/b.png", "in/deep/a.png"]
    assert names("in/deep/a.png") == ["in/deep/a.png"]
    assert listed(["in"]).said == ["left out in in: hidden 1, litter 1"]


@pytest.mark.usefixtures("here")
def test_an_image_that_is_named_twice_is_there_once() -> None:
    assert names("in/deep", "in", "in/b.png") == ["in/deep/a.png", "in/b.png"]


def test_two_images_that_tables_call_the_same_are_refused(here: Path) -> None:
    for folder in ("one", "two"):
        (here / folder).mkdir()
        Image.new("RGB", (4, 4)).save(here / folder / "1.png")
        (here / folder / "list.csv").write_text("path\n1.png\n")
    with pytest.raises(DatasetError, match=r"one/1\.png and two/1\.png are both called '1\.png'.*by itself"):
        listed(["one/list.csv", "two/list.csv"])
    assert names("one/list.csv", "one/list.csv") == ["1.png"]


@pytest.mark.parametrize("text", ["path\nb.png\ndeep/a.png\n", "Path;label\nb.png;x\ndeep\\a.png;y\n"])
def test_a_table_names_images_relative_to_its_own_folder(here: Path, text: str) -> None:
    (here / "in" / "list.csv").write_text(text)
    images = listed(["in/list.csv"]).images
    assert [image.file.resolve() for image in images] == [here / "in" / "b.png", here / "in" / "deep" / "a.png"]
    assert images[0].name == "b.png"


def test_a_table_none_of_whose_files_is_there_is_refused(here: Path) -> None:
    (here / "list.csv").write_text("path\nb.png\n")
    with pytest.raises(DatasetError, match="paths are relative to the folder of the table"):
        listed(["list.csv"])


def test_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="there is nothing to predict"):
        listed([])
