"""Whether a model is right as often as it says, and how often it is where it answers only when it is sure.

Shape letters: N images, B bins, P points of a curve.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Reliability(NamedTuple):
    """Bins of confidence that hold any image, from low to high."""

    confidence_B: Floats
    """Mean confidence, 0..1."""
    accuracy_B: Floats
    """Share of right answers."""
    images_B: npt.NDArray[np.int64]


class CoverageCurve(NamedTuple):
    """Shares, 0..1: of images that are answered, and of these answers that are right."""

    coverage_P: Floats
    accuracy_P: Floats


def reliability(sure_N: npt.ArrayLike, is_right_N: npt.ArrayLike, num_bins: int) -> Reliability:
    """Sort answers into bins of equal width by their confidence, 0..1; empty bins are left out."""
    sure_N, is_right_N = np.asarray(sure_N, np.float64), np.asarray(is_right_N, np.float64)
    place_N = np.clip(np.searchsorted(np.linspace(0, 1, num_bins + 1), sure_N, side="right") - 1, 0, num_bins - 1)
    images_B = np.bincount(place_N, minlength=num_bins)
    has_any_B = images_B > 0
    means = [np.bincount(place_N, values, num_bins)[has_any_B] for values in (sure_N, is_right_N)]
    confidence_B, accuracy_B = (sums / images_B[has_any_B] for sums in means)
    return Reliability(confidence_B, accuracy_B, images_B[has_any_B])


def coverage_curve(sure_N: npt.ArrayLike, is_right_N: npt.ArrayLike, num_points: int) -> CoverageCurve:
    """Return how often answers are right where the surest alone are given, at up to `num_points` shares of images that
    are as far apart as they can be; the last one is all images. Images that are equally sure are answered together.
    """
    sure_N, is_right_N = np.asarray(sure_N, np.float64), np.asarray(is_right_N, np.float64)
    order_N = np.argsort(-sure_N, kind="stable")
    right_N = np.cumsum(is_right_N[order_N])
    ends = np.append(np.flatnonzero(np.diff(sure_N[order_N])), len(sure_N) - 1)
    chosen = np.unique(np.linspace(0, len(ends) - 1, min(num_points, len(ends))).round().astype(np.int64))
    number_P = ends[chosen] + 1
    return CoverageCurve(number_P / len(sure_N), right_N[ends[chosen]] / number_P)
