"""Names from users: their normal form, their order, and which are too alike."""

import itertools
import unicodedata

import pytest

from taskdistill.tasks.data.names import clashes, in_order, normal


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ash", "ash"),
        (" ash \t", "ash"),
        ("\u00a0ash\u3000", "ash"),
        ("ba\u0308r", "b\u00e4r"),
        ("b\u00e4r", "b\u00e4r"),
        ("two  words", "two  words"),
        ("  ", ""),
    ],
)
def test_the_normal_form_is_composed_and_has_no_blanks_at_its_ends(written: str, name: str) -> None:
    assert normal(written) == name


def test_numbers_are_in_the_order_of_numbers_however_long_they_are() -> None:
    longer = "1" + "0" * 5000  # Python refuses to make an int of it
    assert in_order(["10", longer, "9", "100"]) == ["9", "10", "100", longer]


@pytest.mark.parametrize("odd", ["x", "²", "٣", "1.5", "-1"])
def test_only_plain_digits_are_ordered_as_numbers(odd: str) -> None:
    assert in_order(["10", "9", odd]) == sorted(["10", "9", odd])


def test_the_order_is_the_same_whatever_order_the_names_come_in() -> None:
    for names in (["1", "01", "001", "2"], ["b", "B", "a"]):
        assert len({tuple(in_order(order)) for order in itertools.permutations(names)}) == 1


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (["Cat", "cat"], "differ only in case"),
        (["STRASSE", "straße"], "differ only in case"),
        (["1", "01"], "are the same number"),
        (["1", "1.0"], "are the same number"),
        (["0.5", ".50", "0.50"], "are the same number"),
        (["3", "\u0663"], "are the same number"),  # the Arabic digit
        (["3", "\uff13"], "differ only in how Unicode writes them"),  # the full-width one
        (["red fox", "red  fox"], "differ only in blanks"),
        (["red fox", "red\u00a0fox"], "differ only in blanks"),
        (["cat", "\uff43\uff41\uff54"], "differ only in how Unicode writes them"),
        (["cat", "c\u200bat"], "differ only in how Unicode writes them"),
        (["fish", "\ufb01sh"], "differ only in how Unicode writes them"),
        (["\u2764", "\u2764\ufe0f"], "differ only in how Unicode writes them"),
    ],
)
def test_names_that_are_too_alike_are_told_with_what_they_differ_in(names: list[str], difference: str) -> None:
    assert clashes([*names, "other"]) == [(sorted(names), difference)]


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10"], ["cat", "cats"], ["a-b", "a_b"], ["猫", "犬"], ["قط", "كلب"], ["\U0001f98a", "\U0001f431"],
        ["1a", "01a"], ["resume", "résumé"], ["1e3", "1000"],
    ],
)  # fmt: skip
def test_names_that_people_tell_apart_do_not_clash(names: list[str]) -> None:
    assert clashes(names) == []


def test_the_two_unicode_forms_of_a_name_are_one_name_after_normal() -> None:
    forms = {normal(unicodedata.normalize(form, "café")) for form in ("NFC", "NFD")}
    assert forms == {"café"}
