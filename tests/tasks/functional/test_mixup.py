import numpy as np
import pytest
import torch

from tasks.functional.mixup import cutmix, mixup


@pytest.fixture
def two_images() -> torch.Tensor:
    """One image of zeros and one of tens, 3 channels, 4 x 6 pixels."""
    return torch.stack([torch.zeros(3, 4, 6), torch.full((3, 4, 6), 10.0)])


def test_mixup_is_the_weighted_mean_with_the_opposite_image(two_images: torch.Tensor) -> None:
    mixed = mixup(two_images, 0.7)
    torch.testing.assert_close(mixed[0], torch.full((3, 4, 6), 3.0))
    torch.testing.assert_close(mixed[1], torch.full((3, 4, 6), 7.0))


def test_mixup_pairs_the_first_with_the_last() -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert mixup(images, 0.5).flatten().tolist() == [1.5, 1.5, 1.5, 1.5]
    assert mixup(images, 0.0).flatten().tolist() == [3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_one_box_and_says_what_share_it_kept(two_images: torch.Tensor, seed: int) -> None:
    # A quarter is cut: half the height times half the width, 2 x 3 of 4 x 6 pixels.
    mixed, kept = cutmix(two_images, 0.75, np.random.default_rng(seed))
    assert kept == 0.75
    pasted = mixed[0, 0] == 10
    assert pasted.sum() == 6
    assert torch.equal(mixed[1, 0] == 0, pasted)  # the same box in the other image
    assert torch.equal(mixed[0, 0], mixed[0, 2])  # and in every channel
    rows, columns = pasted.any(dim=1).nonzero().flatten(), pasted.any(dim=0).nonzero().flatten()
    assert rows.tolist() == list(range(rows[0], rows[0] + 2))
    assert columns.tolist() == list(range(columns[0], columns[0] + 3))


def test_cutmix_says_the_exact_share_where_the_box_is_rounded(two_images: torch.Tensor) -> None:
    # sqrt(0.5) of 4 x 6 is 2.83 x 4.24, a box of 3 x 4: 12 of 24 pixels are kept.
    assert cutmix(two_images, 0.5, np.random.default_rng(0))[1] == 0.5
    # sqrt(0.4) of it is 2.53 x 3.79, again 3 x 4, though 0.6 was asked for.
    assert cutmix(two_images, 0.6, np.random.default_rng(0))[1] == 0.5


def test_the_box_of_cutmix_is_not_always_in_the_same_place(two_images: torch.Tensor) -> None:
    boxes = {cutmix(two_images, 0.75, np.random.default_rng(seed))[0].numpy().tobytes() for seed in range(20)}
    assert len(boxes) > 5


def test_the_images_given_are_left_as_they_were(two_images: torch.Tensor) -> None:
    before = two_images.clone()
    mixup(two_images, 0.3)
    cutmix(two_images, 0.3, np.random.default_rng(0))
    assert torch.equal(two_images, before)
