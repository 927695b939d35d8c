"""What the masks of a dataset hold, all together: what has to be known before it is decided how each is read.

More masks take no more memory: numbers are 65,536 at most, and of colours no more are kept.

Shape letters: M distinct codes.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from taskdistill.tasks.data.label_tables import Colour
from taskdistill.tasks.data.mask_pixels import Histogram, Kind, colour_of, is_grey

_MOST_KEPT = 65_536
"""Colours, and entries of palettes. Where there are more, no table of labels explains them."""


class Content(NamedTuple):
    """What one mask holds."""

    id: str
    """Of its image."""
    kind: Kind
    found: Histogram
    palette: Mapping[int, Colour]
    """Of the numbers that occur in it, where it is indexed."""
    has_alpha: bool


class Seen:
    """Sums over masks."""

    def __init__(self) -> None:
        self.first: dict[Kind, str] = {}
        """Kind -> id of the first image with such a mask."""
        self.pixels: dict[Kind, Counter[int]] = {"values": Counter(), "indexed": Counter(), "colours": Counter()}
        """Kind -> code -> pixels."""
        self.painted: dict[tuple[int, Colour], str] = {}
        """A number of indexed masks and its colour -> id of the first image where it has that."""
        self.has_numbers_beyond_palettes = False
        self.num_with_alpha = 0
        self.most_codes: tuple[int, str] = (0, "")
        """The most codes that one mask holds, and the id of its image."""

    def add(self, content: Content) -> None:
        """Count one mask more."""
        self.first.setdefault(content.kind, content.id)
        codes = content.found.codes_M.tolist()
        pixels = self.pixels[content.kind]
        for code, number in zip(codes, content.found.pixels_M.tolist(), strict=True):
            if code in pixels or len(pixels) < _MOST_KEPT:
                pixels[code] += number
        for painted in content.palette.items():
            if len(self.painted) < _MOST_KEPT:
                self.painted.setdefault(painted, content.id)
        if content.kind == "indexed" and len(content.palette) < len(codes):
            self.has_numbers_beyond_palettes = True
        self.num_with_alpha += content.has_alpha
        self.most_codes = max(self.most_codes, (len(codes), content.id), key=lambda one: one[0])

    @property
    def colours(self) -> set[int]:
        """The codes of masks of colours."""
        return set(self.pixels["colours"])

    @property
    def has_hues(self) -> bool:
        return not all(map(is_grey, self.pixels["colours"]))

    def numbers(self, *kinds: Kind) -> Counter[int]:
        """Return the pixels of each number in masks of these kinds; a grey colour is the number that it is of."""
        found = Counter[int]()
        for kind in kinds:
            for code, pixels in self.pixels[kind].items():
                if kind != "colours":
                    found[code] += pixels
                elif is_grey(code):
                    found[colour_of(code)[0]] += pixels
        return found
