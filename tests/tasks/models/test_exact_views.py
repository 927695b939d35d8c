"""What an exported network is shown is, to the last bit, what Pillow cuts."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskdistill.tasks.functional.views import clean_view, replay
from taskdistill.tasks.models.exact_views import CleanView
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDES = st.integers(51, 400)


def seeing(mode: str, interpolation: str, side: int, width: int = 0, share: float = 0.875) -> Preprocessing:
    return Preprocessing(side, MEAN, STD, interpolation, share, mode, width)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def cut_by_pillow(pixels_HW3: np.ndarray, see: Preprocessing) -> np.ndarray:
    view = clean_view(*pixels_HW3.shape[:2], see.crop_share, see.crop_mode, see.width_to_height)
    return replay(pixels_HW3, view, see.size, see.interpolation)


@given(
    SIDES, SIDES, st.sampled_from(["center", "squash", "whole"]), st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    st.integers(8, 160), st.sampled_from([0, 48, 130]),
)  # fmt: skip
@example(300, 90, "center", "bicubic", 32, 0)  # Pillow resizes columns first
@example(90, 300, "whole", "bicubic", 32, 0)
@example(300, 90, "whole", "lanczos", 32, 64)
@settings(max_examples=60, deadline=None)
def test_the_view_has_the_bytes_that_pillow_cuts(
    height: int, width: int, mode: str, interpolation: str, side: int, view_width: int
) -> None:
    pixels_HW3, see = picture(height, width), seeing(mode, interpolation, side, view_width)
    found = CleanView(see).pixels(torch.from_numpy(pixels_HW3)[None])
    np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), cut_by_pillow(pixels_HW3, see))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_images_of_a_single_row_or_column_are_taken(size: tuple[int, int]) -> None:
    pixels_HW3, see = picture(*size), seeing("center", "bilinear", 16)
    found = CleanView(see).pixels(torch.from_numpy(pixels_HW3)[None])
    np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), cut_by_pillow(pixels_HW3, see))


def test_several_images_are_normalised_as_they_are_in_training() -> None:
    see = seeing("center", "bicubic", 40)
    pixels_NHW3 = np.stack([picture(70, 90), picture(70, 90)[::-1]])
    cut = np.stack([cut_by_pillow(pixels_HW3, see) for pixels_HW3 in pixels_NHW3])
    found = CleanView(see)(torch.from_numpy(pixels_NHW3))
    assert torch.equal(found, normalise(cut, see, torch.device("cpu")))
