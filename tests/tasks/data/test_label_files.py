"""What data.labels names: tables that come with the program, files of users' own."""

from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.label_files import labels_of, read_labels
from taskdistill.tasks.data.label_tables import BIRD_PARTS, CAMVID, CITYSCAPES, CITYSCAPES_IDS, VOC, LabelTable
from taskdistill.tasks.miniature.world import PARTS


def labels(folder: Path, name: str, text: str) -> LabelTable:
    (folder / name).write_text(text)
    found = labels_of(IngestConfig(form="masks", path=str(folder), labels=name))
    assert found
    return found


def test_the_tables_that_come_along_are_those_of_the_benchmarks() -> None:
    assert (len(CAMVID.names), CAMVID.ignored) == (11, (11,))
    assert [VOC.names[number] for number in (0, 15, 20)] == ["background", "person", "tvmonitor"]
    # As the palette of VOC's development kit has them.
    assert [VOC.colours[number] for number in (0, 1, 15, 20)] == [
        ((0, 0, 0),), ((128, 0, 0),), ((192, 128, 128),), ((0, 64, 128),)
    ]  # fmt: skip
    assert VOC.ignored_colours == ((224, 224, 192),)
    assert len(CITYSCAPES.names) == 19
    assert CITYSCAPES_IDS.names == CITYSCAPES.names
    assert dict(zip(CITYSCAPES_IDS.names, CITYSCAPES_IDS.values, strict=True))["bicycle"] == (33,)
    assert sorted([*sum(CITYSCAPES_IDS.values, ()), *CITYSCAPES_IDS.ignored]) == list(range(34))
    assert BIRD_PARTS.names == PARTS


def test_a_dataset_class_of_mmsegmentation_names_its_classes() -> None:
    pytest.importorskip("taskdistill.tasks.openmmlab.labels")
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed")
    found = labels_of(IngestConfig(form="masks", path="x", labels="mmseg:ADE20KDataset"))
    assert found
    assert (len(found.names), found.names[0], found.values[0], found.ignored) == (150, "wall", (1,), (0,))


def test_names_without_numbers_are_those_of_the_numbers_that_are_not_ignored() -> None:
    table = LabelTable(("sky", "road"))
    assert table.with_values().values == ((0,), (1,))
    assert table.with_values([0]).values == ((1,), (2,))
    assert table.with_values([1, 7]).values == ((0,), (2,))


def test_a_text_file_has_one_name_a_line(tmp_path: Path) -> None:
    assert labels(tmp_path, "classes.txt", "\ufeffsky\n road side \n\n").names == ("sky", "road side")


def test_a_table_may_give_a_class_several_numbers_and_says_what_is_ignored(tmp_path: Path) -> None:
    found = labels(tmp_path, "classes.csv", "name,value\nroad,7\ncar,26\ncar,27\n,0\n,4\n")
    assert found == LabelTable(("road", "car"), ((7,), (26, 27)), (), (0, 4), ())


def test_a_table_may_give_colours_with_or_without_numbers(tmp_path: Path) -> None:
    only = labels(tmp_path, "colours.csv", "Name;R;G;B\nroad;128;64;128\ncar;0;0;142\n;0;0;0\n")
    assert only == LabelTable(("road", "car"), (), (((128, 64, 128),), ((0, 0, 142),)), (), ((0, 0, 0),))
    both = labels(tmp_path, "both.csv", "value,name,red,green,blue\n1,road,128,64,128\n2,car,0,0,142\n")
    assert both.values == ((1,), (2,))
    assert both.colours == only.colours


def test_the_list_of_classes_that_ade20k_brings_along_is_read(tmp_path: Path) -> None:
    text = "Idx\tRatio\tTrain\tName\n1\t0.1576\t11664\twall\n2\t0.1072\t6046\tbuilding, edifice\n"
    found = labels(tmp_path, "objectInfo150.txt", text)
    assert (found.names, found.values) == (("wall", "building, edifice"), ((1,), (2,)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "sky\n\nroad\n", "line 2 is empty: each line is the name of the next number"),
        ("a.txt", "sky\nsky\n", "'sky' in several lines"),
        ("a.txt", "\n", "is empty: write the name of a class in each line"),
        ("a.csv", "name,value\nsky,x\n", "row 1: the column value holds 'x', expected a whole number from 0 to 65535"),
        ("a.csv", "name,red,green,blue\nsky,1,2,256\n", "row 1: .* '256', expected a whole number from 0 to 255"),
        ("a.csv", "name,value\nsky,1\nroad,1\n", "gives the value 1 to 'sky' and to 'road'"),
        ("a.csv", "name,red\nsky,1\n", "a colour needs all three"),
        ("a.csv", "name\nsky\n", r"lacks the columns \['value'\]"),
    ],
)
def test_a_file_that_is_no_list_of_classes_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        labels(tmp_path, name, text)


def test_a_file_that_is_not_there_or_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"data\.labels: there is no file .*classes\.txt"):
        read_labels(tmp_path / "classes.txt")
    with pytest.raises(DatasetError, match="leads out of the dataset's folder"):
        labels_of(IngestConfig(form="masks", path=str(tmp_path), labels="../classes.txt"))


def test_a_name_that_is_no_table_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="did you mean 'camvid'"):
        IngestConfig(form="masks", labels="camvd")
    with pytest.raises(ValueError, match=r"form 'folder' has none: set data\.form to 'masks'"):
        IngestConfig(labels="camvid")
