"""Images dealt to folds, so that a head can be had for each image that did not see it (cross-fitting).

Shape letters: N images.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def folds_of(ids: Sequence[str], labels_N: npt.NDArray[np.int64], num_folds: int) -> npt.NDArray[np.int64]:
    """Return the fold of each image, [N], 0 .. num_folds - 1; sizes of folds differ by one image at most.

    The images of each class, in the order of blake2b of their ids, are dealt to the folds one after the other, so that
    the folds of a class differ by one image at most too. Images without a label (-1) are a class of their own.
    """
    places = [hashlib.blake2b(image_id.encode()).digest() for image_id in ids]
    order = sorted(range(len(ids)), key=lambda image: (int(labels_N[image]), places[image]))
    fold_N = np.empty(len(ids), np.int64)
    # The next class goes on where the last one ended: otherwise fold 0 would get one more of every class.
    fold_N[order] = np.arange(len(ids)) % num_folds
    return fold_N
