"""YAML read one way: what is data is kept as written, what programs read differently is refused with its line."""

from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.yaml_text import MAX_DEPTH, dump, parse


def refusal(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text, "birds.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-3", 0.001), ("1E3", 1000.0), ("-2.5e+1", -25.0), (".5", 0.5), ("5.", 5.0), ("0", 0), ("-7", -7), ("+3", 3),
        ("1_000", 1000), ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("2024-01-01", "2024-01-01"), ("12:30pm", "12:30pm"), ("y", "y"), ("=", "="), ("nan", "nan"),
        ("1.2.3", "1.2.3"), ("photos #2", "photos"), ("'010'", "010"), ('"yes"', "yes"),
    ],
)  # fmt: skip
def test_a_plain_word_is_a_decimal_number_true_false_null_or_text(word: str, value: object):
    found = parse(f"a: {word}", "birds.yaml")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("010", "010 is read as different numbers by different programs: write it in decimal, without leading zeros"),
        ("08", "08 is read as different numbers"),
        ("00.5", "00.5 is read as different numbers"),
        ("0x10", "0x10 is read as different numbers"),
        ("0b11", "0b11 is read as different numbers"),
        ("0o17", "0o17 is read as different numbers"),
        ("1__0", "1__0 is read as different numbers"),
        ("1:30", "1:30 is read as different numbers by different programs: write it in decimal"),
        ("1:30:00", "'1:30:00' for text"),
        ("yes", "yes is read as true or false by some and as text by others: write true or false, or 'yes' for text"),
        ("Off", "Off is read as true or false"),
        (".inf", ".inf is no finite number"),
        ("-.inf", "-.inf is no finite number"),
        (".NaN", ".NaN is no finite number"),
        ("1e999", "1e999 is too large for a number"),
        ("9" * 5000, "has 5000 digits, too many for a number"),
        ("&anchor 3", "anchors (&) and aliases (*) are not read: write the values out"),
        ("*anchor", "anchors (&) and aliases (*) are not read"),
        ("!!python/name:os.system", "tags such as !!python/name:os.system are not read: settings are plain values"),
        ("!!python/object/apply:os.system ['true']", "tags such as !!python/object/apply:os.system are not read"),
        ("!!int 3", "tags such as !!int are not read"),
        ("!mine 3", "tags such as !mine are not read"),
        ("{<<: {b: 1}}", "merge keys (<<) are not read: write the values out"),
        ("{b: 1, b: 2}", "'b' is there twice, first in line 2: keep one"),
        ("{b: 1, 'b': 2}", "'b' is there twice"),
        ("{1: 2}", "a name must be text, found 1: put it in quotes"),
        ("{null: 2}", "a name must be text, found null"),
        ("{[b]: 2}", "a name must be text, found a list or a section"),
        ("[1", "expected ',' or ']'"),
        ("b: c", "mapping values are not allowed here"),
        ("\x07", "no text has the character U+0007"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_several_ways_is_refused_with_its_line(word: str, why: str):
    message = refusal(f"first: 1\na: {word}\n")
    assert message.startswith("birds.yaml, line ")
    assert why in message


def test_a_tab_is_named_with_what_to_write_in_its_place():
    with pytest.raises(SettingsError, match=r"a.yaml, line 2: a tab stands where blanks should: indent with blanks"):
        parse("training:\n\tepochs: 1\n", "a.yaml")


def test_the_line_is_that_of_the_fault():
    assert refusal("a: 1\nb:\n  c: 010\nd: 3\n").startswith("birds.yaml, line 3: ")
    assert refusal("a: 1\nb: 2\n\na: 3\n") == "birds.yaml, line 4: 'a' is there twice, first in line 1: keep one"


def test_aliases_that_would_grow_to_a_billion_words_are_refused_at_the_first():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    assert refusal(bomb).startswith("birds.yaml, line 1: anchors (&) and aliases (*) are not read")


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000 + "x"])
def test_brackets_without_end_are_refused_and_not_followed(text: str):
    assert f"more than {MAX_DEPTH} brackets within each other" in refusal(text)


def test_a_second_document_is_refused():
    assert "expected a single document" in refusal("a: 1\n---\na: 2\n")


TRICKY = [
    "1e-3", "1e3", "yes", "no", "010", "0x1", "1:30", "2024-01-01", "~", "", "null", "nan", ".nan", ".inf", "true",
    "1_000", "1__0", "# x", "a #b", "a: b", "=", "<<", "&a", "*a", "!b", " x ", "\n", "é", "中", "\udce9", "'", '"',
    "[x]", "{x",
]  # fmt: skip


@pytest.mark.parametrize("value", [*TRICKY, 1e-5, 1e22, 0.1, 3.0, -7, 0, True, None, [], {}, ["yes", ["010"]]])
def test_what_is_written_is_read_again_as_it_was(value: Any):
    text = dump({"a": value, "b": {"c": value}})
    assert parse(text, "birds.yaml") == {"a": value, "b": {"c": value}}


def test_names_are_written_so_that_they_are_read_again():
    values = dict.fromkeys(("yes", "on", "010", "1:30", "null", "a b"), 1)
    assert parse(dump(values), "birds.yaml") == values


def test_a_value_that_stands_in_two_places_is_written_twice():
    shared = [0.5, 0.5]
    assert parse(dump({"mean": shared, "std": shared}), "birds.yaml") == {"mean": [0.5, 0.5], "std": [0.5, 0.5]}
