"""Canonical JSON and its digest: one text for one recipe."""

import math
from typing import Any

import pytest

from taskdistill.storage.fingerprint import canonical_json, fingerprint


def test_canonical_json_sorts_keys_drops_spaces_and_keeps_letters_as_they_are():
    assert canonical_json({"b": [1, 2.5, None, True], "a": "é"}) == '{"a":"é","b":[1,2.5,null,true]}'


def test_the_fingerprint_is_the_sha256_of_that_text_in_utf8():
    # printf '{"a":"é","b":[1,2.5,null,true]}' | sha256sum
    expected = "0c187fb652afca8017b5ef38178eeef09a9dfef844316f80ba4207cdf1995ee5"
    assert fingerprint({"b": [1, 2.5, None, True], "a": "é"}) == expected


def test_the_order_of_keys_makes_no_difference_at_any_depth():
    assert fingerprint({"x": {"a": 1, "b": 2}, "y": 3}) == fingerprint({"y": 3, "x": {"b": 2, "a": 1}})


def test_the_order_of_a_list_makes_a_difference():
    assert fingerprint({"seeds": [1, 2]}) != fingerprint({"seeds": [2, 1]})


def test_a_tuple_is_the_list_it_becomes_in_json():
    assert fingerprint({"seeds": (1, 2)}) == fingerprint({"seeds": [1, 2]})


@pytest.mark.parametrize(("number", "text"), [(0.1, "0.1"), (1e-5, "1e-05"), (2.0, "2.0"), (2, "2"), (True, "true")])
def test_a_number_has_one_text(number: float, text: str):
    assert canonical_json(number) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_json_cannot_hold_are_refused_with_their_place(number: float):
    with pytest.raises(ValueError, match=r"recipe\.config\.rates\[1\] is -?(nan|inf), which JSON cannot hold"):
        canonical_json({"config": {"rates": [0.1, number]}})


@pytest.mark.parametrize("value", [len, lambda: 0, {1, 2}, frozenset({1}), b"bytes", object(), 1j])
def test_values_without_an_exact_text_are_refused_with_their_place(value: Any):
    with pytest.raises(TypeError, match=rf"recipe\.config\.x is a {type(value).__name__}, which has no exact text"):
        canonical_json({"config": {"x": value}})


def test_keys_that_are_not_text_are_refused_rather_than_turned_into_it():
    with pytest.raises(TypeError, match=r"recipe\.classes has the key 1: keys must be text"):
        canonical_json({"classes": {1: "robin"}})
