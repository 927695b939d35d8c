"""The mean over classes of a ratio of sums over images, such as mIoU, with what each image adds to it.

mIoU is no mean over images: intersections and unions are summed over all of them first. Its standard error is that of
its linear approximation (Taylor linearisation of a ratio: Cochran, Sampling Techniques, 1977, section 6.4; Woodruff,
JASA 66, 1971; the same as the infinitesimal jackknife, Jaeckel 1972, Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 21). With r_k = sum_n a_nk / sum_n b_nk, image n moves the mean over classes by

    u_n = 1/K sum_k (a_nk - r_k b_nk) / mean_n b_nk

The u_n add up to exactly 0, and their spread over images is that of the mean: so mean + u_n are N values that may be
treated as if the metric were their mean, which it is. The difference of two models on the same images has the values
u_n - u'_n: what is hard for both cancels out.

Shape letters: N images, K classes.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]


def ratios(parts_NK: Counts, wholes_NK: Counts) -> npt.NDArray[np.float64]:
    """Return [K], each class's sum of parts over its sum of wholes; NaN where the wholes are 0."""
    part_K, whole_K = parts_NK.sum(axis=0), wholes_NK.sum(axis=0)
    return np.asarray(np.divide(part_K, whole_K, out=np.full(len(whole_K), np.nan), where=whole_K > 0), np.float64)


def mean_ratio(parts_NK: Counts, wholes_NK: Counts) -> float:
    """Return the mean of the ratios of those classes that have one, as mIoU is defined; 0 where none has."""
    found_K = ratios(parts_NK, wholes_NK)
    return float(found_K[~np.isnan(found_K)].mean()) if not np.isnan(found_K).all() else 0.0


def values_by_image(parts_NK: Counts, wholes_NK: Counts) -> npt.NDArray[np.float64]:
    """Return [N], mean_ratio + u_n: values whose mean is the mean of the ratios and whose spread gives its error.

    A class that one image alone has says nothing of how much images differ, and adds nothing to the spread.
    """
    found_K, whole_K = ratios(parts_NK, wholes_NK), wholes_NK.sum(axis=0)
    known_K = whole_K > 0
    if not known_K.any():
        return np.zeros(len(parts_NK))
    # Class by class in one product: [N, K] of residuals in float64 for every image set would be the larger part.
    weight_K = np.where(known_K, len(parts_NK) / (known_K.sum() * np.maximum(whole_K, 1)), 0.0)
    moved_N = parts_NK @ weight_K - wholes_NK @ (weight_K * np.nan_to_num(found_K))
    return np.asarray(found_K[known_K].mean() + moved_N, np.float64)
