"""Temperature scaling (Guo et al., arXiv 1706.04599, section 4.2): outputs are divided by the one number that makes the
loss on held-out images smallest.

The cross-entropy of outputs * s is convex in the scale s = 1 / temperature: the log of a sum of exponentials of linear
functions, less a linear one. So its slope changes sign once at most, and halving finds where.
"""

from collections.abc import Callable

LOWEST, HIGHEST = 0.25, 4.0
"""Temperatures between which the best is looked for."""
UNCHANGED = 1.0
"""Where the loss shrinks with the temperature for ever, as with all held-out images classified right: LOWEST, four
times as sure an answer, would come from a handful of images.
"""
_HALVINGS = 40


def temperature_of(slope: Callable[[float], float]) -> float:
    """Return the temperature of the smallest loss: HIGHEST where it still shrinks there, UNCHANGED where it does at
    LOWEST.

    `slope` returns how fast the loss of the outputs, multiplied by the scale that it is given, grows with the scale.
    """
    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(low) > 0:
        return HIGHEST
    # A slope of exactly 0 is no minimum: float32 has nothing left to gain of answers as sure as these.
    if slope(high) <= 0:
        return UNCHANGED
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if slope(middle) < 0:
            low = middle
        else:
            high = middle
    return 2 / (low + high)
