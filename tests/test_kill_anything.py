"""A short form of `python -m tests.kill_anything`."""

from pathlib import Path

import pytest

from tests.kill_anything import rounds, segmentation, small_experiment


@pytest.mark.slow
def test_a_pipeline_of_two_slots_killed_at_random_moments_makes_the_bytes_of_one_slot(tmp_path: Path) -> None:
    hit, different = rounds(tmp_path, small_experiment(tmp_path), kills=2, seed=1, slots=2)
    assert sum(hit.values()) == 2
    assert different == []


@pytest.mark.nightly
@pytest.mark.slow
def test_a_pipeline_that_learns_masks_killed_at_random_moments_makes_the_same_bytes(tmp_path: Path) -> None:
    hit, different = rounds(tmp_path, segmentation(tmp_path), kills=2, seed=3)
    assert sum(hit.values()) == 2
    assert different == []
