"""Weights of classes for losses of pixels, where some classes have a thousand times the pixels of others.

Shape letters: K classes, H W pixels.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class ClassPixels(NamedTuple):
    """What the weights of classes go by."""

    pixels_K: npt.NDArray[np.float64]
    """Pixels of each class."""
    pixels_of_masks_K: npt.NDArray[np.float64]
    """Pixels of any class in those masks that have it."""


def pixels_of_classes(masks: Iterable[npt.NDArray[np.uint8]], num_classes: int) -> ClassPixels:
    """Count masks [H, W]; values from `num_classes` on are no class, and not counted."""
    found = ClassPixels(np.zeros(num_classes), np.zeros(num_classes))
    for mask_HW in masks:
        counts_K = np.bincount(mask_HW.ravel(), minlength=num_classes)[:num_classes]
        found.pixels_K[:] += counts_K
        found.pixels_of_masks_K[:] += counts_K.sum() * (counts_K > 0)
    return found


def median_frequency_weights(found: ClassPixels) -> Tensor:
    """Return weights [K] by the inverse of how frequent a class is where it is seen at all: the median over classes
    divided by its own frequency (Eigen and Fergus, arXiv 1411.4734; used for CamVid by SegNet, arXiv 1511.00561).

    A class's frequency is its share of the pixels of those masks that have it. A class that no mask has weighs 1.
    """
    weights_K, is_seen_K = np.ones(len(found.pixels_K)), found.pixels_K > 0
    if is_seen_K.any():
        frequencies_K = found.pixels_K[is_seen_K] / found.pixels_of_masks_K[is_seen_K]
        weights_K[is_seen_K] = np.median(frequencies_K) / frequencies_K
    return torch.from_numpy(weights_K).float()
