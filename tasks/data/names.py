"""Names that come from users: one normal form, one order, and which of them are too alike to be two.

The normal form is Unicode's NFC without blanks at the ends: a Mac writes the same name in other code points than a PC,
and a spreadsheet leaves blanks behind. Folders, tables and splits all pass through `normal`. Names that then still
differ, but only as `1` and `01` do, or in case, in blanks, or in characters that look alike (full-width, zero-width),
are a mistake in the data more often than two classes, and are refused.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_PLAIN_DIGITS = re.compile(r"[0-9]+")


def normal(name: str) -> str:
    """Return the name in its normal form; may be empty."""
    return unicodedata.normalize("NFC", name).strip()


def in_order(names: Iterable[str]) -> list[str]:
    """Return distinct names in an order that depends on nothing else: by number where all are plain ASCII digits,
    else by code points.
    """
    distinct = set(names)
    if all(_PLAIN_DIGITS.fullmatch(name) for name in distinct):
        return sorted(distinct, key=_by_number)
    return sorted(distinct)


def _by_number(name: str) -> tuple[int, str, str]:
    """As an int would, but for numbers of any length."""
    digits = name.lstrip("0")
    return len(digits), digits, name


def clashes(names: Iterable[str]) -> list[tuple[list[str], str]]:
    """Return each group of names that are too alike, with what they differ in, such as 'differ only in case'."""
    groups = defaultdict(set)
    for name in names:
        groups[_core(name)].add(name)
    return [(sorted(same), _difference(same)) for same in groups.values() if len(same) > 1]


def _core(name: str) -> str | Decimal:
    """Return what is left of a name without number format, case, blanks and Unicode form."""
    folded = " ".join(_folded(name).split())
    digits = "".join(str(unicodedata.decimal(letter, letter)) for letter in folded)
    return Decimal(digits) if _NUMBER.fullmatch(digits) else folded


def _folded(name: str) -> str:
    wide = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in unicodedata.normalize("NFKC", wide) if not _is_invisible(letter))


def _is_invisible(letter: str) -> bool:
    """Whether it is a format character, as zero-width ones are, or chooses a variant of the one before."""
    return unicodedata.category(letter) == "Cf" or "\ufe00" <= letter <= "\ufe0f"


def _difference(names: set[str]) -> str:
    if len({" ".join(name.split()) for name in names}) == 1:
        return "differ only in blanks"
    if len({unicodedata.normalize("NFKC", name) for name in names}) == 1:
        return "differ only in how Unicode writes them"
    if len({name.casefold() for name in names}) == 1:
        return "differ only in case"
    if all(isinstance(_core(name), Decimal) for name in names):
        return "are the same number"
    return "differ only in how Unicode writes them"
