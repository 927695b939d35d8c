"""Decoded images kept within their budget, and the views that are cut from them."""

from pathlib import Path

import numpy as np
import pytest

from configs.data import ViewSettings
from storage.errors import CorruptArtifactError
from storage.image_set import ImageRow, ImageSet, shard_path, write_index, write_shard
from tasks.data.batches import DecodedImages, ViewSource
from tasks.data.decode import decode_rgb
from tasks.functional.views import clean_view, draw_view, replay
from tasks.models.preprocessing import Preprocessing
from tests.conftest import Bench

PREPROCESSING = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.8, "center")


@pytest.fixture
def images(finished_bench: Bench) -> ImageSet:
    return ImageSet.open(finished_bench.path(finished_bench.images))


def test_images_are_kept_decoded_while_the_budget_lasts(images: ImageSet) -> None:
    decoded = DecodedImages(images, cache_mb=1)  # 218 images of 40 x 40 x 3 bytes: room for all 48
    nothing_kept = DecodedImages(images, cache_mb=0)
    first = [decoded.pixels(row) for row in range(48)]
    assert all(decoded.pixels(row) is first[row] for row in range(48))
    assert nothing_kept.pixels(0) is not nothing_kept.pixels(0)
    assert np.array_equal(nothing_kept.pixels(0), first[0])


def test_images_beyond_the_budget_are_decoded_again(images: ImageSet) -> None:
    decoded = DecodedImages(images, cache_mb=1)
    decoded._free_bytes = 2 * 40 * 40 * 3  # a budget of two images; the setting counts in MiB
    assert decoded.pixels(0) is decoded.pixels(0)
    assert decoded.pixels(1) is decoded.pixels(1)
    assert decoded.pixels(2) is not decoded.pixels(2)


def test_view_0_is_the_clean_one_and_the_others_are_drawn_from_the_images_name(images: ImageSet) -> None:
    settings = ViewSettings(num_views=3, seed=5)
    source = ViewSource(DecodedImages(images, cache_mb=1), settings, PREPROCESSING)
    views_N9 = source.views([7, 7, 30], [0, 2, 3])
    expected = [
        clean_view(40, 40, 0.8, "center"),
        *(draw_view(images.ids[row], number, 40, 40, settings) for row, number in ((7, 2), (30, 3))),
    ]
    assert np.array_equal(views_N9, expected)
    cut = source.cut([7, 7, 30], views_N9)
    assert cut.shape == (3, 24, 24, 3)
    for index, row in enumerate((7, 7, 30)):
        assert np.array_equal(cut[index], replay(decode_rgb(images.image(row)), expected[index], (24, 24), "bilinear"))


def test_a_view_is_cut_once_where_there_is_room_for_it_and_comes_back_the_same(images: ImageSet) -> None:
    decoded = DecodedImages(images, cache_mb=0)
    keeping = ViewSource(decoded, ViewSettings(num_views=3), PREPROCESSING, views_mb=1)
    cutting = ViewSource(decoded, ViewSettings(num_views=3), PREPROCESSING)
    views_N9 = cutting.views([7, 7], [1, 2])
    expected = cutting.cut([7, 7], views_N9)
    assert not np.array_equal(*expected)
    for _ in range(2):
        assert np.array_equal(keeping.cut([7, 7], views_N9), expected)
    first, second = (keeping._cut(7, views_N9[0], lambda: decoded.pixels(7)) for _ in range(2))
    assert first is second
    keeping.forget_pixels()
    assert np.array_equal(keeping.cut([7, 7], views_N9), expected)


def test_views_beyond_the_room_are_cut_again(images: ImageSet) -> None:
    source = ViewSource(DecodedImages(images, cache_mb=1), ViewSettings(num_views=3), PREPROCESSING, views_mb=1)
    source._free_views = 1  # the setting counts in MiB
    first, second = source.views([7, 7], [1, 2])
    assert source._cut(7, first) is source._cut(7, first)
    assert source._cut(7, second) is not source._cut(7, second)


def test_a_byte_that_flipped_on_the_disk_is_found_when_its_image_is_read(bench: Bench) -> None:
    folder = bench.path(bench.images)
    images = ImageSet.open(folder)
    shard = shard_path(folder, 0)
    data = bytearray(shard.read_bytes())
    position = data.index(images.image(20)) + 50
    data[position] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match="taskdistill discard image-set@"):
        DecodedImages(ImageSet.open(folder), cache_mb=1).pixels(20)


def test_an_image_that_cannot_be_decoded_any_more_is_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "set", 0, [ImageRow("a.png", b"no image", 8, 8, "train", 0)])
    write_index(tmp_path / "set", classes=["x", "y"], num_shards=1)
    with pytest.raises(CorruptArtifactError, match=r"image 'a.png': not an image of a format we read"):
        DecodedImages(ImageSet.open(tmp_path / "set"), cache_mb=1).pixels(0)
