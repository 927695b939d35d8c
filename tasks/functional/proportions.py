"""Shares that were counted on few images: how far each may be off, and whether two of them differ.

Shape letters: N images.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special  # scipy.stats takes a second to import, and its tests are these functions

from taskdistill.tasks.functional.comparison import paired_difference

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


def exact_mcnemar(num_only_first: int, num_only_second: int) -> float:
    """Return the two-sided p of the exact test of McNemar (1947): of the images on which one of two models alone is
    right, how likely so uneven a split is where both are equally good.
    """
    number = num_only_first + num_only_second
    tail = special.bdtr(min(num_only_first, num_only_second), number, 0.5)
    return min(1.0, 2 * float(tail))


def paired_p(first_N: npt.ArrayLike, second_N: npt.ArrayLike) -> float:
    """Return the two-sided p for two models' scores of the same images: exact where each is right or wrong, else that
    of the paired t-test. NaN for one image that has other scores than these.
    """
    first_N, second_N = np.asarray(first_N, np.float64), np.asarray(second_N, np.float64)
    if np.isin(np.concatenate([first_N, second_N]), (0, 1)).all():
        return exact_mcnemar(int((first_N > second_N).sum()), int((second_N > first_N).sum()))
    if len(first_N) < 2:
        return math.nan
    found = paired_difference([first_N], second_N)
    if found.standard_error == 0:  # equal everywhere, or apart by the same everywhere
        return 1.0 if found.mean == 0 else 0.0
    return 2 * float(special.stdtr(len(first_N) - 1, -abs(found.mean) / found.standard_error))
