"""Decoded images kept within their budget, and the views that are cut from them."""

from pathlib import Path

import numpy as np
import pytest

from taskdistill.configs.data import ViewSettings
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageRow, ImageSet, shard_path, write_index, write_shard
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.functional.views import Pixels, clean_view, draw_view, replay, shown_window, thumbnail
from taskdistill.tasks.models.preprocessing import Preprocessing
from tests.conftest import Bench
from tests.fakes import gradient_image

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


def test_views_of_a_network_that_sees_no_squares_have_its_size(images: ImageSet) -> None:
    wide = PREPROCESSING._replace(width_px=36)
    settings = ViewSettings(num_views=3, crop="scaled", width_to_height=1.5)
    source = ViewSource(DecodedImages(images, cache_mb=1), settings, wide)
    views_N9 = source.views([7, 7, 30], [0, 2, 3])
    assert np.array_equal(views_N9[0], clean_view(40, 40, 0.8, "center", 1.5))
    assert np.array_equal(views_N9[1], draw_view(images.ids[7], 2, 40, 40, settings))
    cut = source.cut([7, 7, 30], views_N9)
    assert cut.shape == (3, 24, 36, 3)
    thumbnails = source.thumbnails([7, 7, 30], views_N9, cut)
    for index, row in enumerate((7, 7, 30)):
        assert np.array_equal(cut[index], replay(decode_rgb(images.image(row)), views_N9[index], (24, 36), "bilinear"))
        window = shown_window(views_N9[index], (40, 40), (24, 36))
        assert np.array_equal(thumbnails[index], thumbnail(cut[index][window]))


def test_where_views_show_their_images_is_said_only_if_one_of_them_is_padded(images: ImageSet) -> None:
    padded = ViewSettings(crop="scaled", min_scale=0.5, max_scale=0.5)
    source = ViewSource(DecodedImages(images, cache_mb=1), padded, PREPROCESSING)
    views_N9 = source.views([3, 3], [0, 1])
    assert source.shown([3], views_N9[:1]) is None
    areas_N4 = source.shown([3, 3], views_N9)
    assert areas_N4.dtype == np.float32
    assert areas_N4[0].tolist() == [0, 1, 0, 1]
    above, below, before, after = areas_N4[1]
    assert below - above == after - before == 0.5  # an image of 40 px in a box of 80


def test_a_view_is_cut_once_where_there_is_room_for_it_and_comes_back_the_same(images: ImageSet) -> None:
    decoded = DecodedImages(images, cache_mb=0)
    keeping = ViewSource(decoded, ViewSettings(num_views=3), PREPROCESSING, views_mb=1)
    cutting = ViewSource(decoded, ViewSettings(num_views=3), PREPROCESSING)
    views_N9 = cutting.views([7, 7], [1, 2])
    expected = cutting.cut([7, 7], views_N9)
    assert not np.array_equal(*expected)
    for _ in range(2):
        assert np.array_equal(keeping.cut([7, 7], views_N9), expected)
    assert keeping._cut(7, views_N9[0], _pixels) is keeping._cut(7, views_N9[0], _pixels)
    keeping.forget_pixels([7])
    assert np.array_equal(keeping.cut([7, 7], views_N9), expected)


def test_views_beyond_the_room_are_cut_again(images: ImageSet) -> None:
    source = ViewSource(DecodedImages(images, cache_mb=1), ViewSettings(num_views=3), PREPROCESSING, views_mb=1)
    source._free_views = 1  # the setting counts in MiB
    first, second = source.views([7, 7], [1, 2])
    assert source._cut(7, first, _pixels) is source._cut(7, first, _pixels)
    assert source._cut(7, second, _pixels) is not source._cut(7, second, _pixels)


def test_views_cut_ahead_are_those_that_would_be_cut_and_each_is_given_once(images: ImageSet) -> None:
    source = ViewSource(DecodedImages(images, cache_mb=0), ViewSettings(num_views=3), PREPROCESSING, ahead_mb=1)
    plain = ViewSource(DecodedImages(images, cache_mb=0), ViewSettings(num_views=3), PREPROCESSING)
    room = source._free_ahead
    source.cut_ahead([5, 7], [1, 2, 3])
    assert source._free_ahead == room - 6
    views_N9 = source.views([7, 7, 7, 5], [1, 2, 3, 2])
    assert np.array_equal(source.cut([7, 7, 7, 5], views_N9), plain.cut([7, 7, 7, 5], views_N9))
    assert source._free_ahead == room - 2
    source.forget_pixels([5, 7])
    assert source._free_ahead == room


def test_where_there_is_no_room_for_all_views_of_an_image_none_is_cut_ahead_and_it_is_not_tried_again(
    images: ImageSet,
) -> None:
    source = ViewSource(DecodedImages(images, cache_mb=0), ViewSettings(num_views=3), PREPROCESSING, ahead_mb=1)
    source._free_ahead = 4  # the setting counts in MiB
    source.cut_ahead([5, 7], [1, 2, 3])
    assert source._free_ahead == 1
    source.cut([5], source.views([5], [1]))
    source.cut([5], source.views([5], [2]))
    source.cut_ahead([7], [1, 2, 3])
    assert source._free_ahead == 3
    assert {row for row, _ in source._ahead} == {5}


def _pixels() -> Pixels:
    return gradient_image(40, 40)


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
