"""Losses as sums with counts, so that those of parts add up to that of the whole.

A mean cannot be put together from the means of parts that count differently: parts with fewer labels, or with ignored
pixels, would weigh too much. A sum and what it was taken over can.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sum:
    """A sum of losses and how many there were, both scalars; adding two adds both."""

    total: Tensor
    count: Tensor
    """Whole numbers, or sums of weights where the losses have some."""

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.count + other.count)

    def weighted(self, weight: float) -> "Sum":
        """Return the sum of losses that each count `weight` times."""
        return Sum(self.total * weight, self.count * weight)

    def mean(self) -> Tensor:
        """Return total / count; where nothing was counted 0, with a gradient of 0.

        Divides as torch's own means do, so that values and gradients are the same bits on a CPU.
        """
        count = self.count.to(self.total.device)
        # Both branches of `where` are computed, and 0 / 0 in the one not taken would still make the gradient NaN.
        divisor = torch.where(count > 0, count, torch.ones_like(count))
        return torch.where(count > 0, self.total / divisor, torch.zeros_like(self.total))


def weighted_sum(values: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum of weight * value over the names, a scalar: a loss of several terms."""
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()
