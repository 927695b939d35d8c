"""The table of pairs that generate begins with: every blend's id, its two parents and its seed.

Shape letters: N training images, P pairs.
"""

import hashlib
from typing import Any

import numpy as np

from taskdistill.configs.errors import UserError
from taskdistill.configs.generation import BlendSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.functional.pairs import Pairs, nearest_pairs, same_class_pairs, uniform_pairs
from taskdistill.tasks.functional.views import CLEAN_VIEW


class PairingError(UserError, ValueError):
    """There are no two images that could meet."""


def pair_table(
    settings: BlendSettings, images: ImageSet, embeddings: ViewOutputs, fingerprint: str
) -> list[dict[str, Any]]:
    """Return a row for each blend: id, parent_a, parent_b (ids of training images), seed.

    Raises PairingError where the training images leave nothing to pair.
    """
    train = images.rows_of("train")
    count = max(1, round(settings.per_image * len(train)))
    rng = np.random.default_rng(settings.seed)
    pairs_P2 = train[_drawn(settings, images, embeddings, count, rng)]
    # Drawn pairs have the earlier image first; either strength must be anybody's.
    is_swapped_P = rng.random(count) < 0.5
    pairs_P2[is_swapped_P] = pairs_P2[is_swapped_P, ::-1]
    return [
        {
            "id": f"blend-{number:07d}",
            "parent_a": images.ids[a],
            "parent_b": images.ids[b],
            "seed": seed_of(fingerprint, number),
        }
        for number, (a, b) in enumerate(pairs_P2.tolist())
    ]


def seed_of(fingerprint: str, number: int) -> int:
    """Return the seed of one blend's noise, 0 .. 2^63 - 1, from the artifact's fingerprint and the blend's number."""
    digest = hashlib.blake2b(f"{fingerprint}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _drawn(
    settings: BlendSettings, images: ImageSet, embeddings: ViewOutputs, count: int, rng: np.random.Generator
) -> Pairs:
    train = images.rows_of("train")
    if len(train) < 2:
        raise PairingError(f"a blend has two parents, but the image-set has {len(train)} training image: add more")
    match settings.pairs:
        case "uniform":
            return uniform_pairs(count, len(train), rng)
        case "same-class":
            labels_N = images.labels[train]
            if np.unique(labels_N, return_counts=True)[1].max() < 2:
                raise PairingError(
                    "blends.pairs is same-class, but no class has two training images: set it to uniform or nearest"
                )
            return same_class_pairs(count, labels_N, rng)
        case "nearest":
            rows = embeddings.rows_of([images.ids[row] for row in train], CLEAN_VIEW)
            return nearest_pairs(count, embeddings.view(CLEAN_VIEW)[rows], settings.neighbours, rng)
