"""Colours of classes: those by which people know a dataset where its image-set knows them, else the same for the same
number, neighbours in the list far apart.

Shape letters: K classes.
"""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from storage.image_set import ImageSet
from tasks.problems.noted import noted_of

Colours = npt.NDArray[np.uint8]
"""[K, 3], RGB."""


class NamedColours(NamedTuple):
    """What a picture says of classes."""

    names: Sequence[str]
    colours_K3: Colours


GOLDEN = 0.618033988749895
"""Of a turn from each hue to the next, so that any first few lie far apart."""
TONES = ((0.75, 0.95), (0.95, 0.6), (0.45, 0.85))
"""Saturation and value, by turns."""


def known_colours(images: ImageSet, classes: Sequence[str]) -> Colours | None:
    """Return the colours of these classes; None where ingest did not note one of each."""
    colours = noted_of(images).colours
    return np.asarray([colours[name] for name in classes], np.uint8) if colours.keys() >= set(classes) else None


def palette(num_classes: int) -> Colours:
    """Return colours for so many classes."""
    tones = [TONES[number % len(TONES)] for number in range(num_classes)]
    colours = [colorsys.hsv_to_rgb(number * GOLDEN % 1, *tone) for number, tone in enumerate(tones)]
    return np.asarray(np.rint(255 * np.asarray(colours)), np.uint8).reshape(-1, 3)
