"""Views resized by torch: nearly Pillow's pixels, the same on any number of threads, Pillow's where they must be."""

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs.data import ViewSettings
from taskdistill.tasks.functional.torch_resize import torch_resized
from taskdistill.tasks.functional.views import RESAMPLING, draw_view, pillow_resized, replay
from taskdistill.tasks.models.preprocessing import Preprocessing

IMAGE_HW3 = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 25, 3), np.uint8)).resize((250, 180))
)
CUT = Preprocessing(64, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.9, "center")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("box", [(0, 0, 250, 180), (31, 7, 213, 169), (10, 20, 40, 41), (0, 50, 250, 51)])
def test_it_is_pillows_resizing_of_the_box_alone_within_a_grey_level(
    box: tuple[int, int, int, int], interpolation: str
) -> None:
    left, top, right, bottom = box
    alone = Image.fromarray(np.array(IMAGE_HW3[top:bottom, left:right]))
    expected = np.asarray(alone.resize((70, 50), RESAMPLING[interpolation])).astype(int)
    found = np.asarray(torch_resized(IMAGE_HW3, (70, 50), interpolation, box))
    assert found.shape == (50, 70, 3)
    assert np.abs(found - expected).max() <= 1


def test_a_view_differs_from_pillows_by_little_and_at_its_border_most() -> None:
    uncoloured = ViewSettings(brightness=0, contrast=0, saturation=0)
    for view in range(1, 20):
        fields = draw_view("a", view, 180, 250, uncoloured)
        by_pillow = replay(IMAGE_HW3, fields, (64, 64), "bicubic").astype(int)
        away = np.abs(replay(IMAGE_HW3, fields, (64, 64), "bicubic", torch_resized) - by_pillow)
        assert 0 < away.mean() < 0.5
        assert away[4:-4, 4:-4].max() <= 1


def test_the_number_of_threads_changes_no_bit() -> None:
    box = (3, 5, 240, 170)
    one = np.asarray(torch_resized(IMAGE_HW3, (200, 200), "bicubic", box))
    torch.set_num_threads(3)
    try:
        three = np.asarray(torch_resized(IMAGE_HW3, (200, 200), "bicubic", box))
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    ("interpolation", "box"),
    [
        ("bicubic", (-3, 0, 250, 180)),
        ("bicubic", (0, 0, 251, 180)),
        ("bicubic", (0.5, 0, 100, 100)),
        ("lanczos", (0, 0, 250, 180)),
        ("nearest", (0, 0, 250, 180)),
    ],
)
def test_where_torch_cannot_it_is_pillow(interpolation: str, box: tuple[float, float, float, float]) -> None:
    found, expected = (resized(IMAGE_HW3, (40, 30), interpolation, box) for resized in (torch_resized, pillow_resized))
    assert found.tobytes() == expected.tobytes()


def test_an_image_that_may_not_be_written_to_is_resized_without_a_warning() -> None:
    image_HW3 = IMAGE_HW3.copy()
    image_HW3.flags.writeable = False
    assert torch_resized(image_HW3, (40, 30), "bilinear", (0, 0, 250, 180)).size == (40, 30)


def test_the_clean_view_is_pillows_to_the_bit() -> None:
    clean, other = CUT.clean(180, 250), draw_view("a", 1, 180, 250, ViewSettings())
    np.testing.assert_array_equal(CUT.cut(IMAGE_HW3, clean, "torch"), CUT.cut(IMAGE_HW3, clean))
    assert not np.array_equal(CUT.cut(IMAGE_HW3, other, "torch"), CUT.cut(IMAGE_HW3, other))


def test_masks_and_numbers_of_views_do_not_depend_on_it() -> None:
    plain, other = ViewSettings(), ViewSettings(resize="torch")
    assert draw_view("a", 1, 180, 250, plain).tolist() == draw_view("a", 1, 180, 250, other).tolist()


def test_an_old_recipe_keeps_its_fingerprint_and_one_that_asks_for_torch_has_another() -> None:
    assert "resize" not in ViewSettings().identity()
    assert ViewSettings(resize="torch").identity()["resize"] == "torch"
