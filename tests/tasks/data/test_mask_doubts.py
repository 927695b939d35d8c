"""What the numbers in masks say against the classes that were named for them; expected values by hand."""

import pytest

from taskdistill.tasks.data.label_tables import CAMVID, CITYSCAPES_IDS, LabelTable
from taskdistill.tasks.data.mask_doubts import doubts
from taskdistill.tasks.data.mask_reading import Reading

THREE = LabelTable(("left", "middle", "right"))


def said_of(pixels: dict[int, int], labels: LabelTable, *ignored: int) -> str:
    return " ".join(doubts(pixels, Reading(labels.with_values(ignored), "data.labels 'own'")))


def test_masks_that_count_from_1_under_names_that_count_from_0_are_doubted() -> None:
    said = said_of(dict.fromkeys(range(1, 12), 100), CAMVID)
    assert "no mask holds 0, which is 'sky' by data.labels 'own', and 11, which is ignored, is 9.1% of" in said
    assert "name,value that gives 'sky' the 1" in said


def test_masks_without_the_first_class_are_doubted_where_none_goes_beyond_the_last() -> None:
    assert said_of({1: 5, 2: 5, 255: 1}, THREE).startswith("no mask holds 0, which is 'left' by data.labels 'own': ")


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        ({0: 60, 1: 20, 2: 20}, "60.0% of the pixels of all masks, and none"),
        ({0: 20, 1: 60, 2: 10, 255: 10}, "masks, as is 255 (10.0%), and none"),
    ],
    ids=["more than half is 0", "there are two voids"],
)
def test_masks_that_count_from_0_under_names_that_count_from_1_are_doubted(pixels: dict[int, int], found: str) -> None:
    said = said_of(pixels, THREE, 0)
    assert said.startswith("0 is ignored by data.labels 'own' or data.ignored_values and is ")
    assert found in said
    assert "holds 3, the last class" in said


@pytest.mark.parametrize(
    ("pixels", "labels", "ignored"),
    [
        ({0: 1, 1: 5, 11: 90}, CAMVID, ()),  # some void, and a little sky
        ({0: 60, 1: 20, 3: 20}, THREE, (0,)),  # the last class is there, so they count from 1
        ({0: 20, 1: 40, 2: 40}, THREE, (0,)),  # a border's share is ignored
        ({0: 90, 7: 5, 11: 5}, CITYSCAPES_IDS, ()),  # numbers with gaps are shifted by nobody
        ({}, THREE, ()),  # masks of colours
    ],
)
def test_masks_that_fit_their_classes_are_not_doubted(
    pixels: dict[int, int], labels: LabelTable, ignored: tuple[int, ...]
) -> None:
    assert not said_of(pixels, labels, *ignored)
