"""Mixing of images with their targets: mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899).

For finetuning only. A teacher's cached logits describe the views it saw, not mixtures of them.

Shape letters: N images, C channels, H height, W width.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class WeightedTargets(NamedTuple):
    """The targets of some images, and what the loss against them weighs."""

    weight: float
    targets: Tensor


class Mixture(NamedTuple):
    """Images mixed with others, [N, C, H, W], and what each is to be recognised as: the loss is the weighted sum over
    the targets, whose weights add up to 1.
    """

    images_NCHW: Tensor
    targets: tuple[WeightedTargets, ...]


def mixup(images_NCHW: Tensor, share: float) -> Tensor:
    """Return share * image + (1 - share) * the image opposite in the batch (its order reversed)."""
    return share * images_NCHW + (1 - share) * images_NCHW.flip(0)


def cutmix(images_NCHW: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Paste a box from the opposite image over about 1 - share of each; returns the images and the exact share kept."""
    height, width = images_NCHW.shape[-2:]
    cut_height, cut_width = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
    top, left = int(rng.integers(0, height - cut_height + 1)), int(rng.integers(0, width - cut_width + 1))
    box = slice(top, top + cut_height), slice(left, left + cut_width)
    mixed_NCHW = torch.clone(images_NCHW)
    mixed_NCHW[..., box[0], box[1]] = images_NCHW.flip(0)[..., box[0], box[1]]
    return mixed_NCHW, 1 - cut_height * cut_width / (height * width)
