"""The thumbnail by which a cached view and a replayed one recognise each other."""

from pathlib import Path

import numpy as np
import pytest

from taskdistill.configs.data import ViewSettings
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.functional.views import (
    NOT_PADDED,
    draw_view,
    replay,
    shown_area,
    shown_window,
    thumbnail,
    thumbnail_distance,
)
from taskdistill.tasks.training.distill_source import CHECK_TOLERANCE


def test_it_is_the_mean_grey_of_each_of_64_fields() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[0:2, 0:2] = 200  # the first field
    pixels[2, 15] = (100, 100, 100)  # a quarter of the last field of the second row
    found = thumbnail(pixels)
    assert found.shape == (64,)
    assert found.dtype == np.uint8
    assert found[0] == 200
    assert found[15] == 25
    assert found.sum() == 225


def test_the_distance_is_the_mean_difference_and_does_not_wrap_around() -> None:
    dark, bright = np.zeros(64, np.uint8), np.full(64, 250, np.uint8)
    assert thumbnail_distance(dark, bright) == thumbnail_distance(bright, dark) == 250
    half = np.concatenate([dark[:32], bright[:32]])
    assert thumbnail_distance(dark, half) == 125


@pytest.mark.real_data
def test_two_sizes_of_a_padded_view_that_is_no_square_are_told_from_another_view(real_data: Path) -> None:
    frames = sorted((real_data / "camvid/train").glob("*.png"))[::6]
    assert len(frames) >= 3
    settings = ViewSettings(crop="scaled", width_to_height=4 / 3)
    same, other, padded = [], [], []
    for path in frames:
        pixels = decode_rgb(path.read_bytes())
        views = [draw_view(path.name, number, *pixels.shape[:2], settings) for number in range(1, 9)]
        small, large = (
            [thumbnail(replay(pixels, view, size, "bicubic")[shown_window(view, pixels.shape, size)]) for view in views]
            for size in ((168, 224), (352, 476))
        )
        same += [thumbnail_distance(*pair) for pair in zip(small, large, strict=True)]
        other += [thumbnail_distance(*pair) for pair in zip(small, large[1:] + large[:1], strict=True)]
        padded += [shown_area(view, *pixels.shape[:2]).tolist() != NOT_PADDED for view in views]
    assert 0.2 < np.mean(padded) < 0.8
    assert max(same) < CHECK_TOLERANCE / 4
    assert np.mean(np.asarray(other) > CHECK_TOLERANCE) > 0.85


@pytest.mark.real_data
def test_two_sizes_of_one_view_are_told_from_another_view_of_the_same_photograph(real_data: Path) -> None:
    photographs = sorted((real_data / "clothing10/test").rglob("*.jpg"))[::4]
    assert len(photographs) > 30
    same, other = [], []
    for path in photographs:
        pixels = decode_rgb(path.read_bytes())
        views = [draw_view(path.name, number, *pixels.shape[:2], ViewSettings()) for number in (1, 2)]
        small, large = (thumbnail(replay(pixels, views[0], (side, side), "bicubic")) for side in (128, 224))
        same.append(thumbnail_distance(small, large))
        other.append(thumbnail_distance(small, thumbnail(replay(pixels, views[1], (224, 224), "bicubic"))))
    assert max(same) < CHECK_TOLERANCE / 4
    # Two large crops of a plain background can be much alike; among the many images of a training one is enough.
    assert np.mean(np.asarray(other) > CHECK_TOLERANCE) > 0.9
