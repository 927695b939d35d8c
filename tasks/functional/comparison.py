"""How far a mean over images may be off, and how far two models lie apart on the same images.

Shape letters: N images, D of them on which two models differ, M models compared (one for each seed).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.ArrayLike

EITHER_WAY = 2.0
"""Standard errors that are shown on both sides of a mean: it lies within them about 19 times in 20."""
CHANCE = 0.05
"""What p has to be below for a difference to be called more than chance."""

MAX_EXACT = 16
"""Images that differ, up to which all ways to choose signs are gone through."""


class Difference(NamedTuple):
    """How far the mean over images of one model lies above that of another, and the standard error of that."""

    mean: float
    standard_error: float
    """NaN where there is one image, which says nothing of how much others differ from it."""
    p: float
    """How often other images would show a difference as large between models that are equally good, two-sided; NaN
    where that is not known.
    """

    @property
    def is_better(self) -> bool:
        """Whether the model is above the other by more than one standard error; one image alone that went another way
        is exactly one, whatever rounding makes of it.
        """
        return self.mean > (1 + 1e-9) * self.standard_error

    @property
    def is_clear(self) -> bool:
        """Whether it is more than chance."""
        return self.p < CHANCE  # never, where p is NaN


def standard_error(values_N: Values) -> float:
    """Return the standard error of the mean of N values; of zeros and ones with mean p it is sqrt(p (1 - p) / N)."""
    values_N = np.asarray(values_N, np.float64)
    return float(values_N.std() / math.sqrt(len(values_N)))


def paired_difference(values_MN: Values, reference_N: Values) -> Difference:
    """Compare the mean of M models with a reference, image by image.

    An image that is hard for both cancels out, so that this tells more than the two standard errors side by side. The
    images are the sample: how much another seed would give shows in the spread over the models, not here.
    """
    differences_N = np.mean(np.asarray(values_MN, np.float64) - np.asarray(reference_N, np.float64), axis=0)
    num_images = len(differences_N)
    # By N - 1, as their mean is of the same images: on few of them it matters.
    error = float(differences_N.std(ddof=1)) / math.sqrt(num_images) if num_images > 1 else math.nan
    return Difference(float(differences_N.mean()), error, _p(differences_N, error))


def exact_mcnemar(num_only_first: int, num_only_second: int) -> float:
    """Return the two-sided p of the exact test of McNemar (1947): of the images on which one of two models alone is
    right, how likely so uneven a split is where both are equally good.
    """
    from scipy import special  # takes a quarter of a second to import, and every command would wait for it

    number = num_only_first + num_only_second
    tail = special.bdtr(min(num_only_first, num_only_second), number, 0.5)
    return min(1.0, 2 * float(tail))


def _exact(apart_D: npt.NDArray[np.float64]) -> float:
    """Return the share of all 2^D ways to choose signs that bring the sum at least as far from 0."""
    sums = np.zeros(1)
    for difference in apart_D:
        sums = np.concatenate([sums + difference, sums - difference])
    # Sums that are equal come out some rounding apart.
    return float(np.mean(np.abs(sums) >= abs(float(apart_D.sum())) - 1e-9 * float(np.abs(apart_D).sum())))


def _p(differences_N: npt.NDArray[np.float64], error: float) -> float:
    """Return the two-sided p that equal models differ as much, by Fisher's test of signs: of the images on which two
    models differ, each might as well have gone the other way. Where each is right or wrong that is the exact test of
    McNemar; of many other differences the paired t-test is near enough.
    """
    apart_D = differences_N[differences_N != 0]
    if np.isin(apart_D, (-1, 1)).all():
        return exact_mcnemar(int((apart_D > 0).sum()), int((apart_D < 0).sum()))
    if len(differences_N) == 1:
        return math.nan  # how far apart says nothing without another
    if len(apart_D) <= MAX_EXACT:
        return _exact(apart_D)
    if error == 0:  # apart by the same everywhere
        return 0.0
    from scipy import special

    return 2 * float(special.stdtr(len(differences_N) - 1, -abs(float(differences_N.mean())) / error))
