"""Vectors seen from the side from which they are furthest apart (principal component analysis).

Shape letters: N M vectors of two sets, D their width, C components.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]


class Components(NamedTuple):
    """The directions in which some vectors differ most."""

    mean_D: Vectors
    axes_CD: Vectors
    shares_C: Vectors
    """Of all variance, that along each."""

    @classmethod
    def of(cls, vectors_ND: npt.ArrayLike, number: int) -> Self:
        """Return up to `number` components of N vectors, N > 1. Each is turned so that its largest entry is positive,
        as its sign means nothing.
        """
        vectors_ND = np.asarray(vectors_ND, np.float64)
        mean_D = vectors_ND.mean(axis=0)
        _, lengths, axes_CD = np.linalg.svd(vectors_ND - mean_D, full_matrices=False)
        axes_CD, squares = axes_CD[:number], lengths**2
        largest_C = axes_CD[np.arange(len(axes_CD)), np.abs(axes_CD).argmax(axis=1)]
        return cls(mean_D, axes_CD * np.sign(largest_C)[:, None], squares[:number] / max(squares.sum(), 1e-30))

    def project(self, vectors_MD: npt.ArrayLike) -> Vectors:
        """Return where vectors lie along the components, [M, C]."""
        return np.asarray((np.asarray(vectors_MD, np.float64) - self.mean_D) @ self.axes_CD.T)
