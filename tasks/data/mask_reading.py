"""How the numbers and colours in a dataset's masks become classes: one rule for all of its masks, and the conversion.

A canonical mask, as image-sets hold it, is PNG with one channel of 8 bits: the number of a class, from 0, or 255 for
what is ignored. A file that is one already is kept byte for byte.

Shape letters: H W pixels; h rows of a strip; M distinct codes.
"""

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.label_tables import IGNORED, Colour, LabelTable
from taskdistill.tasks.data.mask_pixels import Codes, Kind, MaskPixels, code_of, colour_of, histogram, mask_pixels
from taskdistill.tasks.data.opening import UnreadableImageError

Classes = npt.NDArray[np.int16]
"""The number of a class, IGNORED or UNKNOWN."""

UNKNOWN = -1
_NUM_VALUES = 2**16
_IGNORED_BY_CUSTOM = (255, 65_535)
"""Numbers that are ignored where they stand for no class: all bits set, in 8 bits and in 16."""
_SHOWN = 3


class Reading(NamedTuple):
    """How all masks of a dataset are read."""

    labels: LabelTable
    """With the numbers of each class written out."""
    source: str
    """Where the classes come from, for errors."""
    is_indexed_by_colour: bool = False
    """Whether masks with a palette mean its colours, not its numbers."""
    is_grey_a_value: bool = False
    """Whether the colours of masks are numbers, written three times."""

    def lookup(self, kind: Kind, palette: Mapping[int, Colour]) -> "Lookup":
        """Return what the codes of a mask of this kind mean."""
        if kind == "values" or (kind == "indexed" and not self.is_indexed_by_colour):
            return Lookup(self._of_values())
        if kind == "colours" and self.is_grey_a_value:
            return Lookup({code_of((value,) * 3): number for value, number in self._of_values().items() if value < 256})
        of_colours = self._of_colours()
        if kind == "colours":
            return Lookup(of_colours)
        return Lookup({index: of_colours.get(code_of(colour), UNKNOWN) for index, colour in palette.items()})

    def _of_values(self) -> dict[int, int]:
        known = dict.fromkeys((*_IGNORED_BY_CUSTOM, *self.labels.ignored), IGNORED)
        return known | {value: number for number, own in enumerate(self.labels.values) for value in own}

    def _of_colours(self) -> dict[int, int]:
        known = {code_of(colour): IGNORED for colour in self.labels.ignored_colours}
        for number, own in enumerate(self.labels.colours):
            for colour in own:
                # Of two classes that share a colour, as some of ADE20K do, it tells neither.
                shared = known.get(code_of(colour), IGNORED) != IGNORED
                known[code_of(colour)] = UNKNOWN if shared else number
        return known


class Lookup:
    """The class of each code, as a table of all numbers or a search among the known colours."""

    def __init__(self, known: Mapping[int, int]) -> None:
        self._codes_M = np.asarray(sorted(known), np.int32)
        self._classes_M = np.asarray([known[code] for code in sorted(known)], np.int16)
        self._of_values: Classes | None = None
        if not known or max(known) < _NUM_VALUES:
            self._of_values = np.full(_NUM_VALUES, UNKNOWN, np.int16)
            self._of_values[self._codes_M] = self._classes_M

    def __call__(self, codes: Codes) -> Classes:
        """Return the class of each code, of the same shape."""
        if self._of_values is not None:
            # Colours go beyond the table; what does is none of the known ones.
            return np.where(codes < _NUM_VALUES, self._of_values[codes & (_NUM_VALUES - 1)], np.int16(UNKNOWN))
        places = np.searchsorted(self._codes_M, codes).clip(max=len(self._codes_M) - 1)
        return np.where(self._codes_M[places] == codes, self._classes_M[places], np.int16(UNKNOWN))


def canonical(data: bytes, size: tuple[int, int], reading: Reading, memory: DecodeMemory | None = None) -> bytes:
    """Return a mask as PNG of class numbers.

    Raises UnreadableImageError where the file is no mask, not of this width and height, or holds what is no class;
    DecodeMemoryError and OutOfMemoryError as decode_rgb does.
    """
    with mask_pixels(data, memory) as mask:
        if mask.size != size:
            raise UnreadableImageError(
                f"it is {mask.size[0]}x{mask.size[1]} pixels, the upright image {size[0]}x{size[1]}: they must be equal"
            )
        lookup = reading.lookup(mask.kind, mask.palette())
        width, height = mask.size
        classes_HW = np.empty((height, width), np.uint8)
        is_same = mask.is_canonical
        for rows, codes_hW in mask.strips():
            found_hW = lookup(codes_hW)
            if (found_hW == UNKNOWN).any():
                raise UnreadableImageError(unknown_of(mask, lookup, reading))
            classes_HW[rows] = found_hW
            is_same = is_same and bool((found_hW == codes_hW).all())
    if is_same:
        return data
    encoded = io.BytesIO()
    Image.fromarray(classes_HW).save(encoded, "PNG")
    return encoded.getvalue()


def unknown_of(mask: MaskPixels, lookup: Lookup, reading: Reading) -> str:
    """Say which codes of a mask are no class, and how many pixels have them; empty where all are known."""
    found = histogram(mask)
    is_unknown_M = lookup(found.codes_M) == UNKNOWN
    codes, pixels = found.codes_M[is_unknown_M].tolist(), found.pixels_M[is_unknown_M].tolist()
    if not codes:
        return ""
    by_colour = mask.kind == "colours" and not reading.is_grey_a_value
    palette = mask.palette() if mask.kind == "indexed" and reading.is_indexed_by_colour else {}
    shown = [
        f"{_said(code, by_colour=by_colour, palette=palette)} ({number} pixels)"
        for code, number in sorted(zip(codes, pixels, strict=True), key=lambda one: -one[1])[:_SHOWN]
    ]
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return (
        f"it holds {', '.join(shown)}{more}, which stand for none or for several of the "
        f"{len(reading.labels.names)} classes of {reading.source}{_blurred(mask, len(codes))}"
    )


def _said(code: int, *, by_colour: bool, palette: Mapping[int, Colour]) -> str:
    if by_colour or palette:
        return f"the colour {palette[code] if palette else colour_of(code)}"
    return f"the value {code if code < _NUM_VALUES else colour_of(code)}"


def _blurred(mask: MaskPixels, num_unknown: int) -> str:
    many = mask.kind == "colours" and num_unknown > IGNORED
    return "; so many colours come from smoothing: it was a JPEG once, or was resized by averaging" if many else ""
