"""Names of classes as a picture can show them.

Pictures are drawn with the one font that comes with matplotlib, so that they are the same on every machine. A name
that it cannot draw (other scripts, writing from right to left, signs that are not printed) or that is too long is
replaced by the number of its class, and a list says which is which.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.font_manager import get_font

FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
MAX_CHARACTERS = 32
FROM_RIGHT_TO_LEFT = {"R", "AL", "AN"}
"""Bidirectional classes of letters whose order and joining a picture would get wrong."""


class Names(NamedTuple):
    """What stands in the picture for each class, and the numbers that stand for names."""

    shown: list[str]
    legend: dict[str, str]


def drawable(classes: Sequence[str]) -> Names:
    """Return a name for each class that can be drawn, such as #3 for the fourth where its own cannot."""
    legend = {f"#{number}": name for number, name in enumerate(classes) if not _can_be_drawn(name)}
    return Names([f"#{number}" if f"#{number}" in legend else name for number, name in enumerate(classes)], legend)


def _can_be_drawn(name: str) -> bool:
    if name.startswith("#") or not name.strip():  # it would pass for a number, or for nothing
        return False
    return len(name) <= MAX_CHARACTERS and all(map(_is_drawable, name))


@cache
def _is_drawable(character: str) -> bool:
    is_printed = character.isprintable() and not unicodedata.combining(character)
    return (
        is_printed
        and ord(character) in _characters()
        and unicodedata.bidirectional(character) not in FROM_RIGHT_TO_LEFT
    )


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(str(FONT)).get_charmap())
