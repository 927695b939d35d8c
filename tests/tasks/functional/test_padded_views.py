"""Views of any shape that may leave their image: image, mask and thumbnail are cut alike, and padding is known as such.

Shape letters: H height, W width.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from taskdistill.configs.data import ViewSettings
from taskdistill.tasks.functional.views import (
    GREY,
    NOT_PADDED,
    UNKNOWN,
    clean_view,
    draw_view,
    replay,
    replay_mask,
    shown_area,
    shown_window,
    thumbnail,
)
from tests.fakes import gradient_image
from tests.tasks.functional.test_views import view_of

SCALED = ViewSettings(crop="scaled")

boxes = st.tuples(st.integers(-60, 90), st.integers(-60, 90), st.integers(1, 160), st.integers(1, 160)).filter(
    lambda box: box[0] < 90 and box[1] < 120 and box[0] + box[2] > 0 and box[1] + box[3] > 0
)
"""Boxes that overlap an image of 90 x 120 pixels."""
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
flips = st.integers(0, 1)


def coordinates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of 90 x 120 pixels whose red and green are each pixel's row and column, and masks of both."""
    rows_HW, columns_HW = np.mgrid[:90, :120].astype(np.uint8)
    return gradient_image(90, 120), rows_HW, columns_HW


def by_hand(mask_HW: np.ndarray, view: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The value under the centre of each pixel, counted in fractions, one pixel after the other."""
    top, left, height, width, flip = (int(value) for value in view[:5])
    cut = np.full(size, UNKNOWN, np.uint8)
    for row in range(size[0]):
        for column in range(size[1]):
            y = top + (row + Fraction(1, 2)) * height / size[0]
            x = left + (column + Fraction(1, 2)) * width / size[1]
            if 0 <= y < mask_HW.shape[0] and 0 <= x < mask_HW.shape[1]:
                cut[row, size[1] - 1 - column if flip else column] = mask_HW[int(y), int(x)]
    return cut


# --- drawing ---------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 3000),
    st.integers(1, 8000),
    st.text(max_size=20),
    st.sampled_from([0.3, 0.5, 1.0, 1.333, 2.0, 7.0]),
)
def test_a_scaled_crop_has_the_networks_shape_and_lies_in_the_image_or_the_image_in_it(
    height: int, width: int, image_id: str, ratio: float
) -> None:
    settings = SCALED.model_copy(update={"width_to_height": ratio})
    top, left, box_height, box_width = draw_view(image_id, 1, height, width, settings)[:4].astype(int).tolist()
    assert min(box_height, box_width) >= 1
    # Both sides are rounded to whole pixels.
    assert abs(box_width - box_height * ratio) <= 0.5 + ratio / 2 or 1 in (box_height, box_width)
    for start, length, in_image in ((top, box_height, height), (left, box_width, width)):
        assert min(0, in_image - length) <= start <= max(0, in_image - length)


def test_over_many_scaled_crops_the_scales_cover_what_the_settings_allow_and_the_image_is_anywhere() -> None:
    settings = SCALED.model_copy(update={"min_scale": 0.5, "max_scale": 2.0, "width_to_height": 2.0})
    views = np.stack([draw_view(f"{number}", 1, 500, 2000, settings) for number in range(2000)])
    # The largest box of 2:1 in 500 x 2000 is 500 x 1000.
    scale = 500 / views[:, 2]
    assert 0.499 < scale.min() < 0.51
    assert 1.98 < scale.max() < 2.01
    assert scale.mean() == pytest.approx(1.25, abs=0.03)  # uniform, as in mmsegmentation
    np.testing.assert_allclose(views[:, 3], 2 * views[:, 2], atol=1.5)
    padded = views[scale < 0.6]
    assert (padded[:, 0] < 0).all()
    # Above and below the image there is padding of any share.
    share = -padded[:, 0] / (padded[:, 2] - 500)
    assert share.min() < 0.1
    assert share.max() > 0.9
    assert 0.45 < views[:, 4].mean() < 0.55


def test_a_scale_of_one_is_the_largest_box_of_the_networks_shape_that_fits() -> None:
    settings = SCALED.model_copy(update={"min_scale": 1.0, "max_scale": 1.0, "width_to_height": 2.0})
    for height, width, expected in ((100, 400, [100, 200]), (400, 100, [50, 100]), (100, 200, [100, 200])):
        assert draw_view("a", 1, height, width, settings)[2:4].tolist() == expected


def test_a_resized_crop_varies_around_the_networks_shape() -> None:
    settings = ViewSettings(width_to_height=2.0, max_aspect=1.1)
    views = np.stack([draw_view(f"{number}", 1, 1000, 2000, settings) for number in range(300)])
    aspect = views[:, 3] / views[:, 2]
    assert 1.81 < aspect.min() < 1.85
    assert 2.15 < aspect.max() < 2.21


# --- replaying -------------------------------------------------------------------------------------------------------


@given(boxes, flips)
def test_a_box_at_its_own_size_is_the_image_pixel_by_pixel_with_grey_around_it(
    box: tuple[int, int, int, int], flip: int
) -> None:
    image, rows_HW, columns_HW = coordinates()
    view, (top, left, height, width) = view_of(*box, flip=flip), box
    canvas = np.full((400, 400, 3), GREY, np.uint8)
    canvas[100:190, 100:220] = image
    expected = canvas[100 + top : 100 + top + height, 100 + left : 100 + left + width]
    expected = expected[:, ::-1] if flip else expected
    cut = replay(image, view, (height, width), "bicubic")
    assert np.array_equal(cut, expected)
    # What the pixels say of where they are from is what the masks say.
    shown = replay_mask(np.zeros((90, 120), np.uint8), view, (height, width)) == 0
    assert shown.any()
    assert np.array_equal(cut[shown][:, 0], replay_mask(rows_HW, view, (height, width))[shown])
    assert np.array_equal(cut[shown][:, 1], replay_mask(columns_HW, view, (height, width))[shown])
    assert (cut[~shown] == GREY).all()


@given(boxes, flips, sizes)
def test_image_and_mask_agree_at_any_size(box: tuple[int, int, int, int], flip: int, size: tuple[int, int]) -> None:
    image, rows_HW, columns_HW = coordinates()
    view = view_of(*box, flip=flip)
    cut = replay(image, view, size, "bilinear").astype(float)
    window = shown_window(view, image.shape, size)
    for channel, mask_HW, length, pixels in ((0, rows_HW, box[2], size[0]), (1, columns_HW, box[3], size[1])):
        from_mask = replay_mask(mask_HW, view, size)[window].astype(float)
        # A pixel of the view is the mean of those it covers; at the border fewer lie on one side than on the other.
        # The kernel of a bilinear filter is two pixels of the view wide, or two of the image where those are larger.
        kernel = max(1, length / pixels)
        is_inner = (from_mask >= kernel) & (from_mask <= mask_HW.shape[channel] - 1 - kernel)
        assert (np.abs(cut[window][..., channel] - from_mask) <= 1.01)[is_inner].all()
        assert (np.abs(cut[window][..., channel] - from_mask) <= kernel + 1).all()


@given(boxes, flips, st.tuples(st.integers(1, 14), st.integers(1, 14)))
def test_a_mask_has_the_value_under_the_centre_of_each_pixel(
    box: tuple[int, int, int, int], flip: int, size: tuple[int, int]
) -> None:
    _, rows_HW, columns_HW = coordinates()
    view = view_of(*box, flip=flip)
    expected = by_hand(rows_HW, view, size)
    if (expected == UNKNOWN).all():
        return  # no centre lies in the image, which shows itself in one pixel all the same
    expected_columns, found, found_columns = (
        by_hand(columns_HW, view, size), replay_mask(rows_HW, view, size), replay_mask(columns_HW, view, size),
    )  # fmt: skip
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert np.array_equal(found_columns, expected_columns)


@given(st.integers(0, 40), st.integers(0, 60), st.integers(1, 50), st.integers(1, 60), sizes)
def test_within_the_image_a_mask_is_cut_as_pillow_resizes_to_the_nearest(
    top: int, left: int, height: int, width: int, size: tuple[int, int]
) -> None:
    mask_HW = np.random.default_rng(0).integers(0, 20, (90, 120), np.uint8)
    box = (left, top, left + width, top + height)
    theirs = np.asarray(Image.fromarray(mask_HW).resize(size[::-1], Image.Resampling.NEAREST, box))
    ours = replay_mask(mask_HW, view_of(top, left, height, width), size)
    # Where a centre falls on the border of two pixels, Pillow's rounding decides.
    rows, columns = (
        (2 * np.arange(pixels) + 1) * length % (2 * pixels) != 0
        for pixels, length in zip(size, (height, width), strict=True)
    )
    assert np.array_equal(ours[rows][:, columns], theirs[rows][:, columns])


def test_padding_keeps_its_grey_and_leaves_the_colours_of_the_image_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for order in range(6):
        colours = {"brightness": 1.2, "contrast": 0.8, "saturation": 0.7, "order": order}
        alone = replay(pixels, view_of(0, 0, 32, 32, **colours), (32, 32), "bilinear")
        padded = replay(pixels, view_of(-16, -8, 64, 64, **colours), (64, 64), "bilinear")
        assert np.array_equal(padded[16:48, 8:40], alone)
        padded[16:48, 8:40] = GREY
        assert (padded == GREY).all()


def test_the_border_of_an_image_is_not_mixed_with_its_padding() -> None:
    white = np.full((30, 30, 3), 255, np.uint8)
    for size in ((7, 7), (16, 9), (100, 130)):
        cut = replay(white, view_of(-10, -13, 50, 50), size, "bicubic")
        assert {tuple(pixel) for pixel in cut.reshape(-1, 3).tolist()} == {GREY, (255, 255, 255)}


# --- where a view shows its image ------------------------------------------------------------------------------------


def test_the_area_is_the_share_of_the_view_that_the_image_fills_after_the_flip() -> None:
    # 90 x 120 pixels in a box of 120 x 200 from (-30, -20): rows 30 to 120 of 120, columns 20 to 140 of 200.
    np.testing.assert_allclose(shown_area(view_of(-30, -20, 120, 200), 90, 120), [0.25, 1, 0.1, 0.7])
    np.testing.assert_allclose(shown_area(view_of(-30, -20, 120, 200, flip=1), 90, 120), [0.25, 1, 0.3, 0.9])
    for flip in (0, 1):
        assert shown_area(view_of(0, 0, 90, 120, flip=flip), 90, 120).tolist() == NOT_PADDED
        assert shown_area(view_of(5, 7, 20, 33, flip=flip), 90, 120).tolist() == NOT_PADDED


@given(boxes, flips, sizes)
def test_the_area_the_window_and_the_mask_show_the_same(
    box: tuple[int, int, int, int], flip: int, size: tuple[int, int]
) -> None:
    view = view_of(*box, flip=flip)
    is_shown = np.zeros(size, bool)
    is_shown[shown_window(view, (90, 120), size)] = True
    assert np.array_equal(replay_mask(np.zeros((90, 120), np.uint8), view, size) == 0, is_shown)
    above, below, before, after = shown_area(view, 90, 120)
    rows, columns = (np.arange(pixels) + 0.5 for pixels in size)
    in_area = np.outer((rows >= above * size[0]) & (rows < below * size[0]), np.ones(size[1])) * (
        (columns >= before * size[1]) & (columns < after * size[1])
    )
    # Where a centre lies on the very border, a flip or the rounding of a share may decide otherwise.
    on_border = np.zeros(size, bool)
    on_border |= (np.abs(rows[:, None] - above * size[0]) < 1e-3) | (np.abs(rows[:, None] - below * size[0]) < 1e-3)
    on_border |= (np.abs(columns - before * size[1]) < 1e-3) | (np.abs(columns - after * size[1]) < 1e-3)
    if in_area.any():
        assert np.array_equal(in_area.astype(bool)[~on_border], is_shown[~on_border])


# --- the whole image as the clean view -------------------------------------------------------------------------------


@given(st.integers(1, 4000), st.integers(1, 8000), st.sampled_from([(64, 64), (48, 96), (364, 490), (512, 1024)]))
def test_the_whole_image_is_shown_in_the_smallest_box_of_the_networks_shape_that_holds_it(
    height: int, width: int, size: tuple[int, int]
) -> None:
    ratio = size[1] / size[0]
    top, left, box_height, box_width = clean_view(height, width, 0.9, "whole", ratio)[:4].astype(int).tolist()
    assert top <= 0
    assert left <= 0
    assert top + box_height >= height
    assert left + box_width >= width
    assert box_height == height or box_width == width
    assert abs(box_width - box_height * ratio) <= ratio + 1
    # As much is added on one side as on the other.
    assert abs(-top - (top + box_height - height)) <= 1
    assert abs(-left - (left + box_width - width)) <= 1


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.01, 1), st.sampled_from([0.5, 1.333, 2.0]))
def test_a_clean_view_of_any_shape_lies_inside_its_image(
    height: int, width: int, crop_share: float, ratio: float
) -> None:
    top, left, box_height, box_width = clean_view(height, width, crop_share, "center", ratio)[:4]
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert abs(box_width - box_height * ratio) <= 0.5 + ratio / 2 or 1 in (box_height, box_width)


@pytest.mark.parametrize(("height", "width"), [(1000, 3), (3, 1000), (1, 1), (20, 8000), (5, 7)])
@pytest.mark.parametrize("size", [(32, 32), (64, 128), (98, 56)])
def test_an_image_of_any_shape_is_shown_somewhere(height: int, width: int, size: tuple[int, int]) -> None:
    pixels, mask = np.full((height, width, 3), 200, np.uint8), np.full((height, width), 7, np.uint8)
    ratio = size[1] / size[0]
    settings = SCALED.model_copy(update={"width_to_height": ratio, "brightness": 0, "contrast": 0, "saturation": 0})
    views = [clean_view(height, width, 1.0, mode, ratio) for mode in ("center", "squash", "whole")]
    views += [draw_view("a", number, height, width, settings) for number in range(8)]
    for view in views:
        cut, values = replay(pixels, view, size, "bicubic"), replay_mask(mask, view, size)
        assert cut.shape == (*size, 3)
        assert values.shape == size
        assert set(values.ravel()) <= {7, UNKNOWN}
        assert (values == 7).any()
        assert (cut[values == 7] == 200).all()
        assert (cut[values == UNKNOWN] == GREY).all()
        assert thumbnail(cut[shown_window(view, (height, width), size)]).tolist() == [200] * 64
