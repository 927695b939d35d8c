"""Statistics of an image's pixels, taken while ingest decodes it: the smallest and the largest value, mean and spread.

Values are in the units of the file, since the scale of what has more than 8 bits is known for the whole set only
(survey). Mean and spread, and all of an 8-bit image, are taken of a grid of pixels, which costs nothing beside
decoding; only an image that is noted as of a single colour was read whole.

Shape letters: H W pixels, N pixels of the grid, C channels.
"""

from typing import Literal, NamedTuple

import numpy as np

from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import decoding, rgb_of
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.deep import DeepPicture, Values, is_deep, load_deep, strips_of
from taskdistill.tasks.data.levels import stated_white
from taskdistill.tasks.data.opening import open_picture
from taskdistill.tasks.functional.views import Pixels

GRID = 16
"""Rows and columns, at most, of the pixels whose mean and spread are taken."""


Kind = Literal["bytes", "scaled", "integers", "floats"]


class PixelStatistics(NamedTuple):
    """The values of one image, as in its file."""

    kind: Kind
    """bytes: 8 bits; scaled: more, brought to 8 by the rules of its format; the others need the levels of the set."""
    lowest: float
    highest: float
    stated: float
    """The largest value that the file speaks of; 0 where it speaks of none."""
    mean: float
    spread: float
    """Standard deviation."""
    is_constant: bool
    is_inverted: bool = False
    """Whether large values are dark."""

    def grey(self, value: float, levels: Levels) -> float:
        """Return a value of this image as a grey level of 0 to 255."""
        black, grey_levels = self._scale(levels)
        grey = min(max((value - black) * grey_levels, 0.0), 255.0)
        return 255 - grey if self.is_inverted else grey

    def width(self, difference: float, levels: Levels) -> float:
        """Return a difference of values of this image in grey levels."""
        return difference * self._scale(levels)[1]

    def _scale(self, levels: Levels) -> tuple[float, float]:
        """Return the value that is black, and grey levels of 255 a value."""
        if self.kind in ("bytes", "scaled"):
            return 0.0, 1.0
        white = levels.white_of_floats if self.kind == "floats" else levels.white
        return levels.black, 255 / (white - levels.black)


def look_at(data: bytes, memory: DecodeMemory) -> tuple[tuple[int, int], PixelStatistics]:
    """Decode an image; returns its upright height and width, and what its values are.

    Raises UnreadableImageError, DecodeMemoryError and OutOfMemoryError as decode_rgb does.
    """
    with open_picture(data) as picture, decoding(picture, memory):
        if not is_deep(picture):
            pixels_HW3 = rgb_of(picture, data)
            return pixels_HW3.shape[:2], _seen_bytes(pixels_HW3)
        stated = stated_white(picture, data)
        deep = load_deep(picture, data)
        width, height = deep.size
        return (height, width), _seen_deep(deep, stated)


def _seen_bytes(pixels_HW3: Pixels) -> PixelStatistics:
    grid_NC = _grid(pixels_HW3).astype(np.float64)
    low_C, high_C = grid_NC.min(axis=0).tolist(), grid_NC.max(axis=0).tolist()
    is_constant = low_C == high_C and _is_constant(pixels_HW3)
    return PixelStatistics("bytes", min(low_C), max(high_C), 0.0, *_mean_and_spread(grid_NC), is_constant)


def _seen_deep(deep: DeepPicture, stated: float) -> PixelStatistics:
    """Look at every value, a strip at a time; alpha is none."""
    width, height = deep.size
    lowest, highest, grids = [], [], []
    for rows in strips_of(width, height):
        values = deep.values(rows)
        values_NC = values.reshape(values.shape[0] * width, -1)[:, : deep.num_colours]
        lowest.append(values_NC.min(axis=0))
        highest.append(values_NC.max(axis=0))
        grids.append(_grid(values)[:, : deep.num_colours])
    low_C, high_C = np.min(lowest, axis=0), np.max(highest, axis=0)
    grid_NC = np.concatenate(grids).astype(np.float64)
    found = np.asarray([low_C.min(), high_C.max(), stated, *_mean_and_spread(grid_NC)], np.float64)
    kind: Kind = "floats" if deep.is_float else "integers"
    if deep.white is not None:
        kind, found = "scaled", found * (255 / deep.white)
    is_inverted = deep.is_inverted or deep.mode == "CMYK"
    lowest_value, highest_value, stated, mean, spread = map(float, found)
    is_constant = bool((low_C == high_C).all())
    return PixelStatistics(kind, lowest_value, highest_value, stated, mean, spread, is_constant, is_inverted)


def _grid(values: Values) -> Values:
    """Return some pixels of an image, [N, C], in rows and columns spread over it."""
    height, width = values.shape[:2]
    grid = values[:: -(-height // GRID), :: -(-width // GRID)]
    return grid.reshape(grid.shape[0] * grid.shape[1], -1)


def _is_constant(pixels_HW3: Pixels) -> bool:
    height, width, _ = pixels_HW3.shape
    return all(bool((pixels_HW3[rows] == pixels_HW3[0, 0]).all()) for rows in strips_of(width, height))


def _mean_and_spread(grid_NC: Values) -> tuple[float, float]:
    """Return the mean of all channels, and the standard deviation of the one in which it is largest."""
    mean_C = grid_NC.mean(axis=0)
    variance_C = ((grid_NC - mean_C) ** 2).mean(axis=0)
    return float(mean_C.mean()), float(variance_C.max()) ** 0.5
