"""Whether two models differ by more than chance on the same images: exactly, where an answer is right or wrong, and by
drawing the images anew for any other metric.

Shape letters: N images.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.tasks.functional.comparison import exact_mcnemar
from taskdistill.tasks.functional.proportions import Interval

Weighted = Callable[[npt.NDArray[np.float64]], float]
"""A metric of one model where image n counts weights_N[n] times."""
SHARE = 0.95
"""Of the draws that an interval holds."""


class McNemar(NamedTuple):
    """On how many images one of two models alone is right, and how probable so uneven a split is by chance."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(right_first_N: npt.ArrayLike, right_second_N: npt.ArrayLike) -> McNemar:
    """Compare two models by their right answers on the same images (McNemar, Psychometrika 12, 1947).

    Of the images on which one alone is right, each model has half by chance: the two-sided probability is binomial, not
    approximated. 1 where there are none.
    """
    first_N, second_N = (np.asarray(right_N, bool) for right_N in (right_first_N, right_second_N))
    only_first, only_second = int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())
    return McNemar(only_first, only_second, exact_mcnemar(only_first, only_second))


def bootstrap_interval(
    first: Sequence[Weighted],
    second: Sequence[Weighted],
    num_images: int,
    *,
    draws: int,
    generator: np.random.Generator,
) -> Interval:
    """Return the percentile interval of how far the mean over seeds of the first model lies above that of the second
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    A draw takes images with replacement, the same for all, and of each model as many of its seeds, with replacement
    too: so few seeds make the interval wide, as they should.
    """
    found = np.empty(draws)
    for draw in range(draws):
        times_N = np.bincount(generator.integers(num_images, size=num_images), minlength=num_images).astype(np.float64)
        drawn = [
            np.mean([seeds[number](times_N) for number in generator.integers(len(seeds), size=len(seeds))])
            for seeds in (first, second)
        ]
        found[draw] = drawn[0] - drawn[1]
    low, high = np.nanquantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Interval(float(low), float(high))
