"""Weights of classes for losses of pixels, where some classes have a thousand times the pixels of others.

Shape letters: K classes, H W pixels.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def median_frequency_weights(masks: Iterable[npt.NDArray[np.uint8]], num_classes: int) -> Tensor:
    """Return weights [K] by the inverse of how frequent a class is where it is seen at all: the median over classes
    divided by its own frequency (Eigen and Fergus, arXiv 1411.4734; used for CamVid by SegNet, arXiv 1511.00561).

    A class's frequency is its share of the pixels of those masks [H, W] that have it; values from `num_classes` on are
    no class, and not counted. A class that no mask has weighs 1.
    """
    pixels_K, pixels_of_masks_K = np.zeros(num_classes), np.zeros(num_classes)
    for mask_HW in masks:
        counts_K = np.bincount(mask_HW.ravel(), minlength=num_classes)[:num_classes]
        pixels_K += counts_K
        pixels_of_masks_K += counts_K.sum() * (counts_K > 0)
    weights_K, is_seen_K = np.ones(num_classes), pixels_K > 0
    if is_seen_K.any():
        frequencies_K = pixels_K[is_seen_K] / pixels_of_masks_K[is_seen_K]
        weights_K[is_seen_K] = np.median(frequencies_K) / frequencies_K
    return torch.from_numpy(weights_K).float()
