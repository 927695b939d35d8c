"""What the numbers in masks say against the classes that were named for them; expected values by hand."""

import pytest

from taskdistill.tasks.data.label_tables import CAMVID, CITYSCAPES_IDS, LabelTable
from taskdistill.tasks.data.mask_doubts import doubts, doubts_of_found, likeness, likeness_of_one_class
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


def likeness_to(labels: LabelTable, *numbers: int) -> str:
    return likeness(numbers, Reading(labels.with_values(), "data.labels 'own'"))


@pytest.mark.parametrize(
    ("labels", "numbers", "said"),
    [
        (CAMVID, (0, 257, 2570, 2827, 65_535), "The numbers are those of the classes times 257, as where"),
        (CAMVID, (0, 256, 2560), "The numbers are those of the classes times 256, as where"),
        (THREE, (0, 127, 255), "those of 3 classes spread evenly over 0 to 255 (times 127.5), as masks are drawn"),
        (THREE, (0, 128, 255), "those of 3 classes spread evenly over 0 to 255 (times 127.5), as masks are drawn"),
        (CAMVID, (0, 20, 60, 200), "All numbers are multiples of 20, and those of the classes times 20"),
        (THREE, (0, 1, 2, 3, 255), "The numbers go to 3, one past the last of 3 classes, as where they count from 1"),
    ],
)
def test_numbers_of_no_class_are_said_to_look_like(labels: LabelTable, numbers: tuple[int, ...], said: str) -> None:
    assert said in likeness_to(labels, *numbers)


@pytest.mark.parametrize(
    "numbers",
    [(0, 1, 2, 255), (0, 17, 40), (9,), (0, 1, 2, 7), (0, 257 * 200)],
    ids=["all known", "no rule", "one alone", "far beyond", "no class times 257"],
)
def test_of_other_numbers_nothing_is_made_up(numbers: tuple[int, ...]) -> None:
    assert not likeness_to(THREE, *numbers)


def test_white_that_is_ignored_beside_black_is_said_to_be_a_class_perhaps() -> None:
    by_value = LabelTable(("left", "right"), ((0,), (1,)))
    assert "They hold 0 and 255 alone, and 255 is ignored" in likeness_of_one_class({0, 255}, Reading(by_value, ""))
    assert not likeness_of_one_class({0, 1, 255}, Reading(by_value, ""))
    assert not likeness_of_one_class({0, 255}, Reading(LabelTable(("left", "right"), ((0,), (255,))), ""))


def test_found_numbers_that_lie_evenly_up_to_255_are_doubted() -> None:
    (said,) = doubts_of_found({0: 1, 127: 1, 255: 1})
    assert said.startswith("the numbers 0, 127, 255 lie evenly from 0 to 255")
    assert not doubts_of_found({0: 1, 1: 1, 255: 1})
    assert not doubts_of_found({0: 1, 255: 1})
    assert not doubts_of_found({0: 1, 51: 1, 255: 1})
