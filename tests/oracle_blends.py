"""What mixing two birds could bring at best: blends drawn from the attributes of their parents, for benchmarks.

Shape letters: N blends, A attributes of a bird.
"""

import torch
from torch import Tensor

from taskdistill.tasks.miniature.world import Pictures, draw


def oracle_blends(parents_a_NA: Tensor, parents_b_NA: Tensor, *, seed: int) -> Pictures:
    """Draw for each pair of birds one that takes each attribute from either parent: a perfect semantic mixer.

    What mixing could bring at best, to compare a trained mixer with. Pose, background and light are new.
    """
    generator = _generator(seed, 3)
    from_a_NA = torch.rand(parents_a_NA.shape, generator=generator) < 0.5
    return draw(torch.where(from_a_NA, parents_a_NA, parents_b_NA), generator)


def draw_pairs(num_images: int, num_pairs: int, *, seed: int) -> Tensor:
    """Draw unordered pairs of distinct images, uniformly, int64 [num_pairs, 2]."""
    generator = _generator(seed, 4)
    first_N = torch.randint(num_images, (num_pairs,), generator=generator)
    second_N = (first_N + torch.randint(1, num_images, (num_pairs,), generator=generator)) % num_images
    return torch.stack([first_N, second_N], dim=1)


def _generator(seed: int, stream: int) -> torch.Generator:
    """Return a stream apart from those of the splits (tasks.miniature.dataset), which are the numbers below 3."""
    return torch.Generator().manual_seed(1_000 * (seed + 1) + stream)
