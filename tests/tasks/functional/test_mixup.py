import numpy as np
import pytest
import torch
from scipy.special import softmax

from taskdistill.tasks.functional.mixup import Mixing, cutmix, draw_mixing, mixed_images, mixed_logits, mixup

SIZE = (4, 6)
CPU = torch.device("cpu")


@pytest.fixture
def two_images() -> torch.Tensor:
    """One image of zeros and one of tens, 3 channels, 4 x 6 pixels."""
    return torch.stack([torch.zeros(3, *SIZE), torch.full((3, *SIZE), 10.0)])


def test_mixup_is_the_weighted_mean_with_the_opposite_image(two_images: torch.Tensor) -> None:
    mixed = mixed_images(two_images, mixup(0.7, SIZE))
    torch.testing.assert_close(mixed[0], torch.full((3, 4, 6), 3.0))
    torch.testing.assert_close(mixed[1], torch.full((3, 4, 6), 7.0))


def test_mixup_pairs_the_first_with_the_last() -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert mixed_images(images, mixup(0.5, (1, 1))).flatten().tolist() == [1.5, 1.5, 1.5, 1.5]
    assert mixed_images(images, mixup(0.0, (1, 1))).flatten().tolist() == [3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_one_box_and_says_what_share_it_kept(two_images: torch.Tensor, seed: int) -> None:
    # A quarter is cut: half the height times half the width, 2 x 3 of 4 x 6 pixels.
    mixing = cutmix(0.75, SIZE, np.random.default_rng(seed))
    assert mixing.share == 0.75
    mixed = mixed_images(two_images, mixing)
    pasted = mixed[0, 0] == 10
    assert pasted.sum() == 6
    assert torch.equal(mixed[1, 0] == 0, pasted)  # the same box in the other image
    assert torch.equal(mixed[0, 0], mixed[0, 2])  # and in every channel
    rows, columns = pasted.any(dim=1).nonzero().flatten(), pasted.any(dim=0).nonzero().flatten()
    assert rows.tolist() == list(range(rows[0], rows[0] + 2))
    assert columns.tolist() == list(range(columns[0], columns[0] + 3))


def test_cutmix_says_the_exact_share_where_the_box_is_rounded() -> None:
    # sqrt(0.5) of 4 x 6 is 2.83 x 4.24, a box of 3 x 4: 12 of 24 pixels are kept.
    assert cutmix(0.5, SIZE, np.random.default_rng(0)).share == 0.5
    # sqrt(0.4) of it is 2.53 x 3.79, again 3 x 4, though 0.6 was asked for.
    assert cutmix(0.6, SIZE, np.random.default_rng(0)).share == 0.5


def test_the_box_of_cutmix_is_not_always_in_the_same_place() -> None:
    boxes = {str(cutmix(0.75, SIZE, np.random.default_rng(seed)).box) for seed in range(20)}
    assert len(boxes) > 5


def test_the_images_given_are_left_as_they_were(two_images: torch.Tensor) -> None:
    before = two_images.clone()
    mixed_images(two_images, mixup(0.3, SIZE))
    mixed_images(two_images, cutmix(0.3, SIZE, np.random.default_rng(0)))
    assert torch.equal(two_images, before)


def test_either_kind_is_drawn_where_both_have_a_parameter() -> None:
    drawn = [draw_mixing({"mixup": 1.0, "cutmix": 1.0}, SIZE, np.random.default_rng(seed)) for seed in range(40)]
    assert 10 < sum(mixing.box is None for mixing in drawn) < 30
    assert len({mixing.share for mixing in drawn}) > 20  # a box of 4 x 6 pixels has few sizes


# --- a teacher's outputs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_logits_are_those_of_the_mixture_of_both_softened_probabilities(share: float, temperature: float) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).half() * 3
    mixed = mixed_logits(logits, mixup(share, SIZE), temperature)
    softened = softmax(logits.double().numpy() / temperature, axis=1)
    expected = share * softened + (1 - share) * softened[::-1]
    np.testing.assert_allclose(softmax(mixed.double().numpy() / temperature, axis=1), expected, atol=1e-6)


def test_mixed_logits_of_teachers_that_are_surer_than_a_float_can_say_are_finite() -> None:
    logits = torch.tensor([[60_000.0, 0.0], [0.0, 60_000.0]]).half()
    for share in (0.0, 0.25, 1.0):
        assert torch.isfinite(mixed_logits(logits, mixup(share, SIZE), 1e-3)).all()
    torch.testing.assert_close(
        mixed_logits(logits, mixup(0.25, SIZE), 1.0).softmax(1), torch.tensor([[0.25, 0.75], [0.75, 0.25]])
    )


def test_an_image_keeps_of_each_cell_what_the_box_leaves() -> None:
    mixing = Mixing(1 - 6 / 24, SIZE, (slice(1, 3), slice(0, 3)))
    assert mixing.kept((), CPU).tolist() == 0.75
    assert mixing.kept((2, 2), CPU).tolist() == [[0.5, 1.0], [0.5, 1.0]]
    assert mixing.kept((4, 2), CPU).tolist() == [[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    torch.testing.assert_close(mixup(0.7, SIZE).kept((2, 2), CPU), torch.full((2, 2), 0.7))
