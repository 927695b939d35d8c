"""Colours of classes: the same for the same number, neighbours in the list far apart.

Shape letters: K classes.
"""

import colorsys

import numpy as np
import numpy.typing as npt

GOLDEN = 0.618033988749895
"""Of a turn from each hue to the next, so that any first few lie far apart."""
TONES = ((0.75, 0.95), (0.95, 0.6), (0.45, 0.85))
"""Saturation and value, by turns."""


def palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """Return [K, 3], RGB."""
    tones = [TONES[number % len(TONES)] for number in range(num_classes)]
    colours = [colorsys.hsv_to_rgb(number * GOLDEN % 1, *tone) for number, tone in enumerate(tones)]
    return np.asarray(np.rint(255 * np.asarray(colours)), np.uint8).reshape(-1, 3)
