"""How far a mean over images may be off, and how far two models lie apart on the same images.

Shape letters: N images, M models compared (one for each seed).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.ArrayLike

CLEAR = 2.0
"""Standard errors that a difference must exceed to be more than chance: about 19 times in 20."""


class Difference(NamedTuple):
    """How far the mean over images of one model lies above that of another, and the standard error of that."""

    mean: float
    standard_error: float
    """NaN where there is one image, which says nothing of how much others differ from it."""

    @property
    def is_better(self) -> bool:
        """Whether the model is above the other by more than one standard error; one image alone that went another way
        is exactly one, whatever rounding makes of it.
        """
        return self.mean > (1 + 1e-9) * self.standard_error

    @property
    def is_clear(self) -> bool:
        return abs(self.mean) > CLEAR * self.standard_error  # never, where the error is NaN


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
    return Difference(float(differences_N.mean()), error)
