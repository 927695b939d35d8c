"""Mixing of images, and of a teacher's outputs: mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899).

Each image of a batch is mixed with the one opposite (the batch's order reversed), all in the same way. What a mixture
is to be recognised as is the problem's business: `Problem.mix_targets` and `Problem.mix_outputs`.

Shape letters: N images, K classes, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


class WeightedTargets(NamedTuple):
    """The targets of some images, and what the loss against them weighs."""

    weight: float
    targets: Tensor


class Mixing(NamedTuple):
    """How each image of a batch is mixed with the one opposite."""

    share: float
    """Of itself that an image keeps: the mean over its pixels."""
    size: tuple[int, int]
    """Height and width of the images."""
    box: tuple[slice, slice] | None = None
    """Rows and columns in which the other is pasted; None: it shines through everywhere."""

    def kept(self, grid: Sequence[int], device: torch.device) -> Tensor:
        """Return [*grid], the share of itself that an image keeps in each cell of a grid laid over it; a scalar for the
        grid () of an answer to the whole image.
        """
        if self.box is None or not grid:
            return torch.full(tuple(grid), self.share, device=device)
        kept_HW = torch.ones(self.size, device=device)
        kept_HW[self.box] = 0
        return adaptive_avg_pool2d(kept_HW[None], (grid[0], grid[1]))[0]


def mixup(share: float, size: tuple[int, int]) -> Mixing:
    """Return the mixing share * image + (1 - share) * the other."""
    return Mixing(share, size)


def cutmix(share: float, size: tuple[int, int], rng: np.random.Generator) -> Mixing:
    """Return the mixing that pastes a box from the other over about 1 - share; its own share is the exact one."""
    height, width = size
    cut_height, cut_width = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
    top, left = int(rng.integers(0, height - cut_height + 1)), int(rng.integers(0, width - cut_width + 1))
    box = slice(top, top + cut_height), slice(left, left + cut_width)
    return Mixing(1 - cut_height * cut_width / (height * width), size, box)


def draw_mixing(betas: Mapping[str, float], size: tuple[int, int], rng: np.random.Generator) -> Mixing:
    """Return mixup or cutmix, those of them that have a parameter at random, with a share from Beta(beta, beta)."""
    kinds = list(betas)
    kind = kinds[int(rng.integers(len(kinds)))]
    share = float(rng.beta(betas[kind], betas[kind]))
    return mixup(share, size) if kind == "mixup" else cutmix(share, size, rng)


def mixed_images(images_NCHW: Tensor, mixing: Mixing) -> Tensor:
    """Return the images, each mixed with the one opposite."""
    others_NCHW = images_NCHW.flip(0)
    if mixing.box is None:
        return mixing.share * images_NCHW + (1 - mixing.share) * others_NCHW
    rows, columns = mixing.box
    mixed_NCHW = torch.clone(images_NCHW)
    mixed_NCHW[..., rows, columns] = others_NCHW[..., rows, columns]
    return mixed_NCHW


def mixed_logits(logits_NK: Tensor, mixing: Mixing, temperature: float) -> Tensor:
    """Return logits of the mixtures [N, K, ...], whose softmax at this temperature is the same mixture of the softmax
    at it of the two images' logits; at another temperature it is not.

    An approximation of what a network would say: exact for one whose softened probabilities are linear between the two
    images. Where logits are maps, each cell is mixed by the share of it that an image keeps.
    """
    logs_NK = (logits_NK.float() / temperature).log_softmax(1)
    kept = mixing.kept(logits_NK.shape[2:], logs_NK.device)
    # In logs, as a probability may be too small for a float; the log of a share of 0 is -inf, which adds nothing.
    mixed_NK = torch.logaddexp(logs_NK + kept.log(), logs_NK.flip(0) + (1 - kept).log())
    return mixed_NK * temperature
