"""What a section is made of. The template has a macro for each kind, and escapes all but what is `Markup`."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

MAX_NAME = 40
_ISOLATE, _END_OF_ISOLATE = "\u2068", "\u2069"
_DIRECTIONS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Characters that are not seen and turn around what is written after them."""
_FROM_RIGHT = {"R", "AL", "AN"}


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    kind: str = "words"


@dataclass(frozen=True)
class Points:
    """Sentences, each a point of a list; beside a chart that stands before it, where the window has room."""

    sentences: Sequence[str]
    kind: str = "points"


@dataclass(frozen=True)
class Terms:
    """What words mean: each with its sentence."""

    terms: Sequence[tuple[str, str]]
    kind: str = "terms"


@dataclass(frozen=True)
class Code:
    """Text to copy, such as commands."""

    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Chart:
    """A drawing, with a sentence for those who do not see it, which also stands under it where it is shown."""

    svg: Markup
    caption: str
    is_wide: bool = False
    kind: str = "chart"


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first `num_names` columns are names, the others numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    num_names: int = 1
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A picture, the file itself in its address, and what stands under it."""

    address: str
    alt: str
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures, each row with a heading, such as a pair of classes."""

    rows: Sequence[tuple[str, Sequence[Picture]]]
    is_wide: bool = False
    kind: str = "pictures"


@dataclass(frozen=True)
class Folded:
    """A table that opens when its line is clicked on."""

    line: str
    table: Table
    kind: str = "folded"


Block = Words | Points | Terms | Code | Chart | Table | Pictures | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    heading: str
    blocks: Sequence[Block]
    is_open: bool = True
    """Whether it is unfolded when the page opens."""
    anchor: str = field(init=False)

    def __post_init__(self) -> None:
        letters = "".join(letter if letter.isalnum() else "-" for letter in self.heading.lower())
        object.__setattr__(self, "anchor", letters)


def plain(text: str) -> str:
    """Return a user's text on one line: control characters, bytes that are no text, characters that turn the direction
    of writing around, and what Unicode says is no letter, on which the library that draws charts gives up, become
    visible.
    """
    return "".join(letter.encode("unicode_escape").decode() if _is_no_letter(letter) else letter for letter in text)


def _is_no_letter(letter: str) -> bool:
    number = ord(letter)
    is_noncharacter = number & 0xFFFE == 0xFFFE or 0xFDD0 <= number <= 0xFDEF
    return is_noncharacter or letter in _DIRECTIONS or unicodedata.category(letter) in ("Cc", "Cs")


def named(name: str) -> str:
    """Return a user's name on one line as it may stand in a sentence: one that has letters which are written from right
    to left is isolated, or the numbers and names beside it would change places with it.
    """
    return _isolated(plain(name))


def _isolated(name: str) -> str:
    is_from_right = any(unicodedata.bidirectional(letter) in _FROM_RIGHT for letter in name)
    return f"{_ISOLATE}{name}{_END_OF_ISOLATE}" if is_from_right else name


def short(name: str, letters: int = MAX_NAME) -> str:
    """Return the name of a class as it fits beside a chart and into a sentence."""
    name = plain(name)
    return _isolated(name if len(name) <= letters else f"{name[: letters - 1]}…")


def distinct(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Make names that were shortened to the same differ, and from those that are taken: by their places, from 1."""
    counts, found = Counter([*names, *taken]), []
    for place, name in enumerate(names, start=1):
        called = name
        while counts[called] > (called == name):  # of which it is one itself
            called = f"{called} ({place})"
        found.append(called)
    return found


def file_name(image_id: str) -> str:
    """Return the end of the path of an image, as it fits under a thumbnail."""
    name = plain(image_id)
    return _isolated(name if len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}")
