"""Views: drawn from the image's name alone, cut at known pixels, the same for teacher and student."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from taskdistill.configs.data import ViewSettings
from taskdistill.tasks.functional.views import COLOUR_ORDERS, VIEW_FIELDS, clean_view, draw_view, replay
from tests.fakes import gradient_image

SETTINGS = ViewSettings()
PLAIN = ViewSettings(brightness=0, contrast=0, saturation=0)


def view_of(top: int, left: int, height: int, width: int, **fields: float) -> np.ndarray:
    """A view of this box, without flip or colours unless told."""
    values = dict(zip(VIEW_FIELDS, (top, left, height, width, 0, 1, 1, 1, 0), strict=True)) | fields
    return np.asarray(list(values.values()), np.float32)


# --- drawing ---------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.text(max_size=20),
    st.integers(1, 50),
    st.builds(ViewSettings, min_area=st.floats(0.001, 1), max_aspect=st.floats(1, 50)),
)
def test_a_box_lies_inside_its_image_whatever_the_shape(
    height: int, width: int, image_id: str, number: int, settings: ViewSettings
) -> None:
    top, left, box_height, box_width = draw_view(image_id, number, height, width, settings)[:4]
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert box_height >= 1
    assert box_width >= 1
    assert float(box_height).is_integer()


@given(st.integers(1, 400), st.text(max_size=10))
def test_an_image_one_pixel_wide_can_be_cut_and_shown(length: int, image_id: str) -> None:
    for height, width in ((1, length), (length, 1)):
        pixels = np.full((height, width, 3), 77, np.uint8)
        cut = replay(pixels, draw_view(image_id, 1, height, width, PLAIN), (16, 16), "bicubic")
        assert np.array_equal(cut, np.full((16, 16, 3), 77))


def test_a_view_depends_on_image_number_seed_and_size_and_on_nothing_before_it() -> None:
    first = draw_view("a.png", 1, 300, 200, SETTINGS)
    np.random.default_rng(0)
    draw_view("b.png", 7, 50, 60, SETTINGS)
    assert np.array_equal(draw_view("a.png", 1, 300, 200, SETTINGS), first)
    others = [
        draw_view("b.png", 1, 300, 200, SETTINGS),
        draw_view("a.png", 2, 300, 200, SETTINGS),
        draw_view("a.png", 1, 300, 200, SETTINGS.model_copy(update={"seed": 1})),
        draw_view("a.png", 1, 200, 300, SETTINGS),
    ]
    assert not any(np.array_equal(first, other) for other in others)


def test_a_view_drawn_today_is_the_view_drawn_by_the_first_release() -> None:
    # Stored logits outlive the code: should this fail, raise the version of extract and precompute-images.
    found = draw_view("train/cat/001.jpg", 3, 480, 640, SETTINGS)
    expected = [105, 172, 358, 463, 1, 1.059220790863037, 1.0710984468460083, 1.1453056335449219, 5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_over_many_views_areas_aspects_flips_and_factors_cover_what_the_settings_allow() -> None:
    views = np.stack([draw_view(f"{number}", 1, 1000, 1000, SETTINGS) for number in range(2000)])
    area = views[:, 2] * views[:, 3] / 1e6
    aspect = views[:, 3] / views[:, 2]
    # A box of area 1 and aspect 4/3 does not fit and is cut to the image, which takes at most the aspect off it.
    assert 0.29 < area.min() < 0.33
    assert 0.9 < area.max() <= 1
    assert 0.74 < aspect.min() < 0.78
    assert 1.30 < aspect.max() < 1.34
    assert views[:, 4].mean() == pytest.approx(0.5, abs=0.05)
    for factors in views[:, 5:8].T:
        assert 0.8 <= factors.min() < 0.81
        assert 1.19 < factors.max() <= 1.2
    assert sorted(set(views[:, 8])) == list(range(6))


def test_settings_of_nothing_draw_the_whole_image_as_it_is() -> None:
    still = ViewSettings(min_area=1, max_aspect=1, flip=0, brightness=0, contrast=0, saturation=0)
    assert draw_view("a", 1, 64, 64, still)[:8].tolist() == [0, 0, 64, 64, 0, 1, 1, 1]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(replay(pixels, draw_view("a", 1, 64, 64, still), (64, 64), "bilinear"), pixels)


# --- replaying -------------------------------------------------------------------------------------------------------


def test_a_box_of_the_size_asked_for_is_cut_pixel_by_pixel() -> None:
    cut = replay(gradient_image(100, 120), view_of(30, 50, 40, 40), (40, 40), "bicubic")
    assert np.array_equal(cut[..., 0], np.arange(30, 70)[:, None].repeat(40, axis=1))
    assert np.array_equal(cut[..., 1], np.arange(50, 90)[None].repeat(40, axis=0))


def test_a_flip_exchanges_left_and_right() -> None:
    image = gradient_image(100, 120)
    straight, flipped = (replay(image, view_of(30, 50, 40, 40, flip=flip), (40, 40), "bicubic") for flip in (0, 1))
    assert np.array_equal(flipped, straight[:, ::-1])
    assert not np.array_equal(flipped, straight)


@pytest.mark.parametrize("side", [20, 40, 80])
def test_teacher_and_student_see_the_same_crop_at_their_own_sizes(side: int) -> None:
    cut = replay(gradient_image(100, 120), view_of(10, 20, 80, 80), (side, side), "bilinear").astype(float)
    # Pixel i of S covers source rows 10 + i * 80 / S and on: the mean of those it covers.
    expected = 10 + (np.arange(side) + 0.5) * 80 / side - 0.5
    inner = slice(2, -2)  # at the edges the filter has no neighbours on one side
    np.testing.assert_allclose(cut[inner, side // 2, 0], expected[inner], atol=0.51)
    np.testing.assert_allclose(cut[side // 2, inner, 1], expected[inner] + 10, atol=0.51)


def test_factors_of_one_change_nothing_in_any_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for order in range(len(COLOUR_ORDERS)):
        assert np.array_equal(replay(pixels, view_of(0, 0, 32, 32, order=order), (32, 32), "bilinear"), pixels)


def test_each_colour_factor_does_what_its_name_says() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:] = (100, 40, 40), (40, 80, 40)
    whole = {"top": 0, "left": 0, "height": 16, "width": 16}
    darker = replay(pixels, view_of(**whole, brightness=0.5), (16, 16), "bilinear")
    assert darker[0, 0].tolist() == [50, 20, 20]
    grey = replay(pixels, view_of(**whole, saturation=0.5), (16, 16), "bilinear")
    # Half way to the luma of (100, 40, 40): 0.299 * 100 + 0.587 * 40 + 0.114 * 40 = 58.
    assert grey[0, 0].tolist() == pytest.approx([79, 49, 49], abs=1)
    flat = replay(pixels, view_of(**whole, contrast=0.5), (16, 16), "bilinear")
    # Half way to the mean luma: (58 + 63.5) / 2 = 61.
    assert flat[0, 0].tolist() == pytest.approx([80.5, 50.5, 50.5], abs=1)
    assert flat[15, 0].tolist() == pytest.approx([50.5, 70.5, 50.5], abs=1)


def test_the_order_of_the_colour_factors_is_part_of_the_view() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    colours = {"brightness": 1.2, "contrast": 0.8, "saturation": 0.8}
    seen = {
        replay(pixels, view_of(0, 0, 32, 32, order=order, **colours), (32, 32), "bilinear").tobytes()
        for order in range(6)
    }
    assert len(seen) > 2


# --- the clean view --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(120, 200), (200, 120), (160, 160), (255, 130)])
@pytest.mark.parametrize("crop_share", [0.875, 0.95, 1.0])
def test_the_clean_view_is_the_box_of_timms_own_evaluation(height: int, width: int, crop_share: float) -> None:
    side = 64
    transform = timm.data.create_transform(
        (3, side, side), crop_pct=crop_share, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    image = gradient_image(height, width)
    theirs = transform(Image.fromarray(image)).permute(1, 2, 0).numpy() * 255
    ours = replay(image, clean_view(height, width, crop_share, "center"), (side, side), "bilinear").astype(float)
    # In this image a difference of one level is a shift of one source pixel; timm cuts whole pixels of the resized
    # image, we cut whole pixels of the source, so one pixel of the view is what they may differ by.
    pixel = crop_share * min(height, width) / side
    inner = slice(2, -2)
    assert np.abs(theirs[inner, inner, :2] - ours[inner, inner, :2]).max() <= pixel + 0.5


def test_a_squashed_clean_view_is_the_whole_image() -> None:
    assert clean_view(120, 200, 0.9, "squash").tolist() == [0, 0, 120, 200, 0, 1, 1, 1, 0]


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.01, 1))
def test_a_clean_view_lies_inside_its_image(height: int, width: int, crop_share: float) -> None:
    top, left, box_height, box_width = clean_view(height, width, crop_share, "center")[:4]
    assert box_height == box_width >= 1
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width


def test_the_numbers_of_threads_do_not_change_a_view() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    view = draw_view("a", 1, 90, 70, SETTINGS)
    before = replay(pixels, view, (32, 32), "bicubic")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert np.array_equal(replay(pixels, view, (32, 32), "bicubic"), before)
    finally:
        torch.set_num_threads(threads)
