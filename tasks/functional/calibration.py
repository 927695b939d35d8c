"""Temperature scaling (Guo et al., arXiv 1706.04599, section 4.2): outputs are divided by the one number that makes the
loss on held-out images smallest.

The cross-entropy of outputs * s is convex in the scale s = 1 / temperature: the log of a sum of exponentials of linear
functions, less a linear one. So its slope changes sign once at most, and halving finds where.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LOWEST, HIGHEST = 0.25, 4.0
"""Temperatures between which the best is looked for."""
UNCHANGED = 1.0
"""Where the loss shrinks with the temperature for ever, as with all held-out images classified right: LOWEST, four
times as sure an answer, would come from a handful of images.
"""
_HALVINGS = 40


def best_temperature(loss: Callable[[Tensor], Tensor]) -> float:
    """Return the temperature of the smallest loss: HIGHEST where it still shrinks there, UNCHANGED where it does at
    LOWEST.

    `loss` returns the loss, a scalar, of the outputs multiplied by the scale that it is given.
    """
    low, high = 1 / HIGHEST, 1 / LOWEST
    if _slope(loss, low) > 0:
        return HIGHEST
    # A slope of exactly 0 is no minimum: float32 has nothing left to gain of answers as sure as these.
    if _slope(loss, high) <= 0:
        return UNCHANGED
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(loss, middle) < 0:
            low = middle
        else:
            high = middle
    return 2 / (low + high)


def _slope(loss: Callable[[Tensor], Tensor], scale: float) -> float:
    at = torch.tensor(scale, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(at), at)
    return float(slope)
