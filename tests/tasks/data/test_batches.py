"""Batches cut by threads: in order, with their errors, and gone when nobody listens."""

import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from configs.data import ViewSettings
from storage.errors import CorruptArtifactError
from storage.image_set import ImageRow, ImageSet, shard_path, write_index, write_shard
from tasks.data.batches import DecodedImages, ViewSource, prefetch
from tasks.data.decode import decode_rgb
from tasks.functional.views import clean_view, draw_view, replay
from tasks.models.preprocessing import Preprocessing
from tests.conftest import Bench

PREPROCESSING = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.8, "center")


# --- prefetch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs_however_long_each_takes(workers: int) -> None:
    def make(job: int) -> int:
        time.sleep(0.01 if job % 3 == 0 else 0)
        return job * job

    assert list(prefetch(make, range(20), workers=workers)) == [job * job for job in range(20)]


def test_an_error_is_raised_in_its_turn_with_the_line_that_raised_it() -> None:
    def make(job: int) -> int:
        if job == 3:
            raise KeyError("third")
        return job

    results = prefetch(make, range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="third") as error:
        next(results)
    assert 'raise KeyError("third")' in "".join(traceback.format_exception(error.value))


def test_no_more_is_made_ahead_than_the_workers_can_hold() -> None:
    started: list[int] = []
    results = prefetch(lambda job: started.append(job) or job, iter(range(1000)), workers=2)
    for taken in range(5):
        next(results)
        time.sleep(0.01)
        assert len(started) <= taken + 1 + 3  # those taken, and workers + 1 ahead
    results.close()


def test_work_stops_when_the_consumer_leaves() -> None:
    started: list[int] = []

    def make(job: int) -> int:
        started.append(job)
        time.sleep(0.05)
        return job

    results = prefetch(make, range(10_000), workers=1)
    assert next(results) == 0
    results.close()
    assert started in ([0], [0, 1])  # the job that was being made, and not the one that waited behind it
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_an_error_in_making_the_jobs_themselves_is_raised() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise OSError("no more jobs")

    with pytest.raises(OSError, match="no more jobs"):
        list(prefetch(lambda job: job, jobs(), workers=2))


# --- decoded images and views ----------------------------------------------------------------------------------------


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
        assert np.array_equal(cut[index], replay(decode_rgb(images.image(row)), expected[index], 24, "bilinear"))


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
