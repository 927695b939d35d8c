"""What is wrong with settings, said for people: the setting, what it takes, what was found.

Pydantic says which rule was broken; the words are made here from the field itself, so that every kind of rule is said
alike and nothing of pydantic's own wording is shown.
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from pydantic import ValidationError

from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.base import NO_NUMBER, Settings
from taskdistill.configs.choices import listed, nearest
from taskdistill.configs.fields import Kind, dotted_names, kind_at

MAX_SHOWN = 80
_LIKE = 0.6
"""From 0 to 1: names that are less alike are not taken for one another."""

_WORDS = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("text", "texts")}
_OF_THE_LIST = ("missing", "too_short", "too_long")
"""Errors of a list that pydantic gives the place of an entry."""


def explained(error: ValidationError, form: type[Settings]) -> list[str]:
    """Return a sentence for each mistake in the values of a form."""
    problems = error.errors(include_url=False)
    # Of a list with wrong entries pydantic says besides that too few of them are right.
    lists = {problem["loc"][:-1] for problem in problems}
    kept = [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in lists]
    return [_sentence(problem, form) for problem in kept]


def _sentence(problem: Any, form: type[Settings]) -> str:
    place = list(problem["loc"])
    names = _names(place, form)
    if problem["type"] == "extra_forbidden":
        return _unknown(names, form)
    kind, names = _setting_of(names, form)
    dotted = ".".join(names)
    if problem["type"] == "value_error":
        return ": ".join(part for part in (dotted.rstrip("."), str(problem["ctx"]["error"])) if part)
    where, found = dotted.rstrip(".") or "the settings", problem["input"]
    if problem["type"] == NO_NUMBER and isinstance(found, list | tuple):
        place.append(problem["ctx"]["entry"])
        found = found[place[-1]]
    if kind.is_list and isinstance(place[-1], int) and problem["type"] not in _OF_THE_LIST:
        kind, where = kind.entry(), f"{where}, entry {place[-1] + 1}"
    return f"{where}: expected {expected(kind)}, found {shown(found)}{_hint(kind, found, where)}"


def _names(place: Sequence[str | int], form: type[Settings]) -> list[str]:
    """Return the names on the way to a place; of a list of sections that of the entry, such as more_teachers[0]."""
    names: list[str] = []
    for part in place:
        if isinstance(part, str):
            names.append(part)
        elif names and (kind := kind_at(names, form)) and kind.is_list_of_sections:
            names[-1] += f"[{part}]"
    return names


def _setting_of(names: Sequence[str], form: type[Settings]) -> tuple[Kind, list[str]]:
    """Return the setting an error belongs to: names beyond it are pydantic's, of the types it tried."""
    for end in range(len(names), 0, -1):
        if kind := kind_at(names[:end], form):
            return kind, list(names[:end])
    return Kind(form), []


def _unknown(names: Sequence[str], form: type[Settings]) -> str:
    return f"unknown setting '{'.'.join(names)}'{meant_by(names, form)}"


def meant_by(names: Sequence[str], form: type[Settings]) -> str:
    """Return a hint for the end of an error about a name that no setting has: the settings that end so wherever they
    stand, or the one that ends most like it, by its whole name.
    """
    *parents, last = names
    everywhere = list(dotted_names(Kind(form)))
    if same := [dotted for dotted in everywhere if _end(dotted) == last]:
        return f"; there is {' and '.join(same)}"
    section = kind_at(parents, form)
    beside = [".".join([*parents, name]) for name in section.fields()] if section else []
    # Those of the same section come first: of two that are as like, the first is taken.
    likeness = {dotted: SequenceMatcher(None, _end(dotted), last).ratio() for dotted in [*beside, *everywhere]}
    best = max(likeness, key=likeness.__getitem__)
    meant = f"; did you mean {best!r}?" if likeness[best] >= _LIKE else ""
    return meant + listed(last, (section or Kind(form)).fields())


def _end(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def expected(kind: Kind) -> str:
    """Return what a setting takes, such as "a whole number from 1 to 256"."""
    if kind.section:
        return f"a section with the settings {', '.join(kind.fields())}"
    if kind.is_mapping:
        return "a section of names and values, such as {depth: 4}"
    if kind.is_list:
        return _expected_list(kind)
    if kind.choices:
        return f"one of {_listed(kind.choices)}" if len(kind.choices) > 1 else str(kind.choices[0])
    word = _WORDS.get(kind.type, ("a plain value", ""))[0]
    return word + _bounds(kind)


def _expected_list(kind: Kind) -> str:
    entry = kind.entry()
    if entry.section:
        return f"a list of sections, each with any of the settings {', '.join(entry.fields())}"
    if entry.is_mapping:
        return "a list of sections of names and values"
    what = f"with any of {_listed(entry.choices)}" if entry.choices else f"of {_WORDS[entry.type][1]}{_bounds(entry)}"
    length = f" of {kind.length} entries" if kind.length is not None else ""
    at_least = f", at least {least} of them" if (least := _limits(kind).get("min_length")) else ""
    return f"a list{length} {what}{at_least}"


def _bounds(kind: Kind) -> str:
    limits = _limits(kind)
    match limits:
        case {"ge": low, "le": high}:
            text = f" from {low} to {high}"
        case _:
            words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
            text = " and".join(f" {word} {limits[name]}" for name, word in words.items() if name in limits)
    if "multiple_of" in limits:
        text += f", a multiple of {limits['multiple_of']}"
    return text


def _limits(kind: Kind) -> dict[str, str]:
    names = ("ge", "gt", "le", "lt", "multiple_of", "min_length")
    found = {name: getattr(marker, name) for marker in kind.markers for name in names if hasattr(marker, name)}
    shortest = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in found.items()}
    return {name: text for name, text in shortest.items() if text != "None"}


def _listed(choices: Iterable[Any]) -> str:
    return ", ".join(str(choice) for choice in choices)


def shown(value: Any) -> str:
    """Return a value as a person would write it, cut where it is long; no password of an address is in it."""
    match value:
        case None | "":
            text = "nothing"
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = f"[{', '.join(shown(item) for item in value)}]"
        case dict():
            text = f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
        case int():
            text = f"{value}" if value.bit_length() < 1000 else f"a number of {value.bit_length()} bits"
        case Settings():
            text = f"a {type(value).__name__}"
        case _:
            text = without_credentials(repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _hint(kind: Kind, found: Any, where: str) -> str:
    is_plain = isinstance(found, str | int | float)
    if kind.choices and isinstance(found, str):
        close = nearest(found, map(str, kind.choices))
        return close.partition(" (")[0] if "did you mean" in close else ""
    if kind.section and is_plain and where.endswith("]"):  # of a list, which is set as a whole
        return f"; write {{{_first(kind)}: {found}}}"
    if kind.section and is_plain:
        return f"; set one of them, such as {where}.{_first(kind)}"
    if kind.is_list_of_sections and found not in ("", []):
        return f"; write [{{{_first(kind.entry())}: ...}}] for a list of one"
    if kind.is_list and is_plain and found != "":
        return f"; write [{found}] for a list of one"
    if kind.is_list and found == "" and "min_length" not in _limits(kind):
        return "; write [] for an empty list"
    if kind.is_text and isinstance(found, int | float):
        return "; put it in quotes"
    if kind.type in (int, float) and isinstance(found, str) and found.isdecimal():
        return "; leave the quotes out"
    return ""


def _first(section: Kind) -> str:
    """Return the setting of a section that an example shows."""
    return "name" if "name" in section.fields() else next(iter(section.fields()))
