"""The order in which training visits images: an endless stream of shuffled epochs, computable at any position.

A batch may end one epoch and begin the next, so every batch is full and each image is visited equally often; and
since the stream is a function of (seed, position), a resumed run continues it from the step number alone.
"""

import functools

import numpy as np
import numpy.typing as npt


@functools.lru_cache(maxsize=8)
def permutation(size: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of 0..size-1 in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def visits(start: int, count: int, *, size: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return items and epochs, each [count], at stream positions start .. start + count - 1."""
    positions = np.arange(start, start + count)
    epochs = positions // size
    items = [
        permutation(size, seed, int(epoch))[position % size] for position, epoch in zip(positions, epochs, strict=True)
    ]
    return np.asarray(items, np.int64), epochs
