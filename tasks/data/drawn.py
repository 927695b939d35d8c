"""Drawing some of many images, the same wherever and in whatever order they lie."""

import hashlib
from collections.abc import Sequence

from taskdistill.tasks.data.candidates import Candidate


def drawn(images: Sequence[Candidate], number: int, seed: int) -> list[Candidate]:
    """Return so many of the images, which depend on the seed and their ids alone."""
    return sorted(images, key=lambda one: hashlib.blake2b(f"{seed}/{one.id}".encode(), digest_size=8).digest())[:number]
