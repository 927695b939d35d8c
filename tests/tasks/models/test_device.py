"""What a device is prepared with."""

import torch

from taskdistill.tasks.models.device import seed_generators

CPU = torch.device("cpu")


def test_networks_draw_what_they_draw_after_torchs_own_seeding() -> None:
    for seed in (0, 7, 2**64 - 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = torch.rand(5), torch.bernoulli(torch.full((5,), 0.5))
            torch.rand(3)
            seed_generators(seed, CPU)
            assert torch.equal(torch.rand(5), expected[0])
            assert torch.equal(torch.bernoulli(torch.full((5,), 0.5)), expected[1])
