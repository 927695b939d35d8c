"""Colours of classes: those by which people know a dataset where its image-set knows them, else the same for the same
number, neighbours in the list far apart.

Shape letters: K classes, H W pixels.
"""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.problems.noted import noted_in, noted_of

Colours = npt.NDArray[np.uint8]
"""[K, 3], RGB."""


class NamedColours(NamedTuple):
    """What a picture says of classes."""

    names: Sequence[str]
    colours_K3: Colours


OVERLAY = 0.55
"""Share of a class's colour where it is laid over an image."""
GOLDEN = 0.618033988749895
"""Of a turn from each hue to the next, so that any first few lie far apart."""
TONES = ((0.75, 0.95), (0.95, 0.6), (0.45, 0.85))
"""Saturation and value, by turns."""


def colours_of(images: Path | None, classes: Sequence[str]) -> Colours:
    """Return the colours of these classes: those that the image-set in a folder knows, where it knows one of each."""
    known = colours_among(noted_in(images).colours, classes) if images else None
    return palette(len(classes)) if known is None else known


def known_colours(images: ImageSet, classes: Sequence[str]) -> Colours | None:
    """Return the colours of these classes; None where ingest did not note one of each."""
    return colours_among(noted_of(images).colours, classes)


def colours_among(noted: Mapping[str, tuple[int, int, int]], classes: Sequence[str]) -> Colours | None:
    """Return the colours of these classes among those that were noted; None where one of them is not."""
    return np.asarray([noted[name] for name in classes], np.uint8) if noted.keys() >= set(classes) else None


def palette(num_classes: int) -> Colours:
    """Return colours for so many classes."""
    tones = [TONES[number % len(TONES)] for number in range(num_classes)]
    colours = [colorsys.hsv_to_rgb(number * GOLDEN % 1, *tone) for number, tone in enumerate(tones)]
    return np.asarray(np.rint(255 * np.asarray(colours)), np.uint8).reshape(-1, 3)


def laid_over(image_HW3: Pixels, labels_HW: npt.NDArray[Any], colours_K3: Colours) -> Pixels:
    """Return an image in the colours of its classes, as it is where a label is none of them."""
    is_known_HW = (labels_HW >= 0) & (labels_HW < len(colours_K3))
    mixed_HW3 = (1 - OVERLAY) * image_HW3 + OVERLAY * colours_K3[np.where(is_known_HW, labels_HW, 0)]
    return np.where(is_known_HW[:, :, None], mixed_HW3.astype(np.uint8), image_HW3)
