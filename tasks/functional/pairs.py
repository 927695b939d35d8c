"""Which images meet: unordered pairs of distinct images, drawn from a seed.

A pair of n images has a number: pairs (a, b) with a < b are counted (0, 1), (0, 2), (1, 2), (0, 3) ..., so b is the
largest integer with b (b - 1) / 2 <= number. Drawing numbers without repetition draws pairs without repetition; all
of them are held only where a good part of them is drawn.

Shape letters: N images, P pairs, D embedding width, B rows compared at a time, k nearest of each.
"""

import numpy as np
import numpy.typing as npt

Pairs = npt.NDArray[np.int64]
"""[P, 2], positions of images."""

NEAREST_BLOCK_BYTES = 64 * 2**20
"""Of similarities that are held at a time."""


def pair_of(number_P: npt.NDArray[np.int64]) -> Pairs:
    """Return the pairs (a, b), a < b, with these numbers."""
    b_P = ((1 + np.sqrt(1 + 8 * number_P.astype(np.float64))) / 2).astype(np.int64)
    b_P -= (b_P * (b_P - 1) // 2 > number_P).astype(np.int64)  # the root may be off by one for large numbers
    b_P += (b_P * (b_P + 1) // 2 <= number_P).astype(np.int64)
    return np.stack([number_P - b_P * (b_P - 1) // 2, b_P], axis=1)


def distinct_numbers(count: int, available: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw numbers 0 .. available - 1 in random order, none again before all have come."""
    rounds = [rng.permutation(available) for _ in range(count // available)] if count >= available else []
    rest = rng.choice(available, count % available, replace=False) if count % available else np.empty(0, np.int64)
    return np.concatenate([*rounds, rest]).astype(np.int64)


def uniform_pairs(count: int, num_images: int, rng: np.random.Generator) -> Pairs:
    """Any two images, each pair as likely as any other."""
    return pair_of(distinct_numbers(count, num_images * (num_images - 1) // 2, rng))


def same_class_pairs(count: int, labels_N: npt.NDArray[np.int64], rng: np.random.Generator) -> Pairs:
    """Two images of one class, each such pair as likely as any other: large classes have more."""
    members = [np.flatnonzero(labels_N == label) for label in np.unique(labels_N)]
    sizes = np.asarray([len(rows) * (len(rows) - 1) // 2 for rows in members])
    ends = np.cumsum(sizes)
    number_P = distinct_numbers(count, int(ends[-1]), rng)
    group_P = np.searchsorted(ends, number_P, side="right")
    local_P2 = pair_of(number_P - (ends - sizes)[group_P])
    pairs_P2 = np.empty_like(local_P2)
    for group in np.unique(group_P):
        chosen = group_P == group
        pairs_P2[chosen] = members[group][local_P2[chosen]]
    return pairs_P2


def nearest_pairs(
    count: int, embeddings_ND: npt.NDArray[np.floating], neighbours: int, rng: np.random.Generator
) -> Pairs:
    """An image and one of its nearest neighbours by cosine similarity, each such pair as likely as any other."""
    unit_ND = normalised(embeddings_ND)
    kept = min(neighbours, len(unit_ND) - 1)
    found = []
    block = max(1, NEAREST_BLOCK_BYTES // (16 * len(unit_ND)))
    for start in range(0, len(unit_ND), block):
        similarity_BN = unit_ND[start : start + block] @ unit_ND.T
        rows_B = np.arange(start, start + len(similarity_BN))
        similarity_BN[rows_B - start, rows_B] = -np.inf
        nearest_Bk = np.argpartition(-similarity_BN, kept - 1, axis=1)[:, :kept]
        found.append(np.stack([np.repeat(rows_B, kept), nearest_Bk.reshape(-1)], axis=1))
    candidates_P2 = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return candidates_P2[distinct_numbers(count, len(candidates_P2), rng)]


def normalised(embeddings_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the embeddings with length 1, float32; one of zeros stays zero."""
    wide_ND = embeddings_ND.astype(np.float32)
    return np.asarray(wide_ND / np.maximum(np.linalg.norm(wide_ND, axis=1, keepdims=True), 1e-12), np.float32)
