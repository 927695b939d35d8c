"""What a confusion matrix tells: which classes are taken for each other, and an order in which these are neighbours.

Shape letters: N images, K classes, B classes of a block.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

Counts = npt.NDArray[np.int64]
Classes = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


class ConfusedPair(NamedTuple):
    """Two classes, by number, and how many images of each are taken for the other."""

    first: int
    second: int
    first_as_second: int
    second_as_first: int

    @property
    def images(self) -> int:
        return self.first_as_second + self.second_as_first


def confusion_counts(labels_N: Classes, predicted_N: Classes, num_classes: int) -> Counts:
    """Return [K, K]: true classes in rows, predicted ones in columns."""
    pairs_N = np.asarray(labels_N, np.int64) * num_classes + predicted_N
    return np.bincount(pairs_N, minlength=num_classes**2).reshape(num_classes, num_classes)


def recall(counts_KK: Counts) -> Shares:
    """Return the share of each true class that is recognised, [K]; NaN where there is no image of it."""
    return _shares(counts_KK, axis=1)


def precision(counts_KK: Counts) -> Shares:
    """Return how often the answer for each class is right, [K]; NaN where it is never given."""
    return _shares(counts_KK, axis=0)


def _shares(counts_KK: Counts, axis: int) -> Shares:
    whole_K = counts_KK.sum(axis=axis)
    shares_K = np.divide(np.diagonal(counts_KK), whole_K, out=np.full(len(whole_K), np.nan), where=whole_K > 0)
    return np.asarray(shares_K)


def _mixed(counts_KK: Counts) -> Shares:
    """Return [K, K], symmetric, 0..1: the mean share of two classes that is taken for the other."""
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    mixed_KK = (shares_KK + shares_KK.T) / 2
    np.fill_diagonal(mixed_KK, 0)
    return np.asarray(mixed_KK)


def clustered_order(counts_KK: Counts) -> Classes:
    """Return the classes [K] in an order in which those that are confused are neighbours: leaves of the average-linkage
    tree, turned so that neighbours are as alike as the tree allows (Bar-Joseph et al., 2001).
    """
    if len(counts_KK) < 3:
        return np.arange(len(counts_KK))
    distances = squareform(1 - _mixed(counts_KK) - np.eye(len(counts_KK)), checks=False)
    tree = hierarchy.linkage(distances, method="average")
    return np.asarray(hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, distances)), np.int64)


def most_confused_block(counts_KK: Counts, size: int) -> Classes:
    """Return up to `size` classes [B], ascending: those of the most confused pairs, pair by pair."""
    chosen: dict[int, None] = {}
    for pair in confused_pairs(counts_KK, len(counts_KK) ** 2):
        new = [one for one in (pair.first, pair.second) if one not in chosen]
        if len(chosen) + len(new) > size:
            break
        chosen |= dict.fromkeys(new)
    return np.asarray(sorted(chosen), np.int64)


def confused_pairs(counts_KK: Counts, most: int) -> list[ConfusedPair]:
    """Return up to `most` pairs of classes that are taken for each other, the most images first."""
    both_KK = np.triu(counts_KK + counts_KK.T, k=1)
    firsts, seconds = np.nonzero(both_KK)
    order = np.argsort(-both_KK[firsts, seconds], kind="stable")[:most]
    return [
        ConfusedPair(int(a), int(b), int(counts_KK[a, b]), int(counts_KK[b, a]))
        for a, b in zip(firsts[order], seconds[order], strict=True)
    ]
