"""Shares that were counted on few images, and how far each may be off."""

import math
from typing import NamedTuple

Z_95 = 1.959963984540054
"""Standard deviations of a normal distribution that hold 95 in 100."""


class Interval(NamedTuple):
    """Where a share, or a difference, lies 95 times in 100."""

    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        return self.low <= 0 <= self.high


def wilson_interval(share: float, number: int) -> Interval:
    """Return the interval of Wilson (1927) for a share, 0..1, of `number` things; the share may be a mean over seeds,
    so that it need not be a whole number of them. Of nothing the share may be anything.
    """
    if number == 0:
        return Interval(0.0, 1.0)
    square = Z_95**2 / number
    centre = (share + square / 2) / (1 + square)
    reach = Z_95 * math.sqrt(share * (1 - share) / number + square / (4 * number)) / (1 + square)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))
