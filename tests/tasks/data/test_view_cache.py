"""Cached outputs in memory: the right rows, and each chunk read once an epoch, counted where files are opened."""

import re
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.functional.order import visits
from tests.storage.artifacts import writer_of_every_view

NUM_ROWS, NUM_VIEWS, WIDTH = 150, 3, 4

opened: list[str] = []
"""Files opened by this process while a test watches; Python tells an audit hook of each, and no hook can be removed."""
watching = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])


sys.addaudithook(_note)


@pytest.fixture
def outputs(tmp_path: Path) -> ViewOutputs:
    """Output of row r in view v: [r, v, r + v, 0]; 150 rows in chunks of 64, so that a view has three chunks."""
    ids = [f"image {row:03d}" for row in range(NUM_ROWS)]
    writer = writer_of_every_view(tmp_path, ids, num_views=NUM_VIEWS, row_shape=(WIDTH,), attributes={})
    for chunk in writer.chunks():
        rows = np.arange(chunk.start, chunk.stop)
        values = np.stack([rows, np.full_like(rows, chunk.view), rows + chunk.view, rows * 0], axis=1)
        views = np.repeat(rows[:, None] * 10 + chunk.view, 9, axis=1).astype(np.float32)
        writer.write(chunk, values.astype(np.float16), views, np.full((len(rows), 64), chunk.view, np.uint8))
    return ViewOutputs(tmp_path)


@pytest.fixture
def chunk_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The chunks of `outputs` opened from now on."""
    opened.clear()
    monkeypatch.setattr(sys.modules[__name__], "watching", True)
    return opened


def read(opened_files: list[str]) -> list[str]:
    return [file for file in opened_files if re.search(r"outputs\.zarr/all/outputs/c/\d+/\d+/", file)]


def test_items_are_positions_among_the_chosen_ids_and_not_rows_of_the_cache(outputs: ViewOutputs) -> None:
    cache = ViewCache(outputs, ["image 120", "image 007", "image 149"], budget_mb=1)
    seen = cache.take(np.asarray([2, 0, 0, 1]), np.asarray([1, 1, 1, 1]))
    assert seen.outputs[:, 0].tolist() == [149, 120, 120, 7]
    assert seen.outputs[:, 2].tolist() == [150, 121, 121, 8]
    assert seen.views_N9[:, 0].tolist() == [1491, 1201, 1201, 71]
    assert seen.thumbnails_N64[:, 5].tolist() == [1, 1, 1, 1]


def test_a_batch_that_straddles_two_epochs_takes_each_item_from_its_own_view(outputs: ViewOutputs) -> None:
    cache = ViewCache(outputs, outputs.ids, budget_mb=0)
    seen = cache.take(np.asarray([5, 6, 7, 8, 9]), np.asarray([2, 1, 2, 0, 1]))
    assert seen.outputs[:, :2].tolist() == [[5, 2], [6, 1], [7, 2], [8, 0], [9, 1]]
    assert seen.views_N9[:, 8].tolist() == [52, 61, 72, 80, 91]
    assert seen.thumbnails_N64[:, 0].tolist() == [2, 1, 2, 0, 1]


def test_an_epoch_reads_each_chunk_of_its_view_once(outputs: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(outputs, outputs.ids, budget_mb=0)
    for epoch in range(4):
        opened.clear()
        for start in range(epoch * NUM_ROWS, (epoch + 1) * NUM_ROWS, 10):  # 150 is a multiple of 10
            items, epochs = visits(start, 10, size=NUM_ROWS, seed=0)
            cache.take(items, 1 + epochs % 2)
        assert len(read(chunk_reads)) == 3
        assert {file.split("/c/")[1] for file in read(chunk_reads)} == {
            f"{block}/{1 + epoch % 2}/0" for block in range(3)
        }


def test_batches_that_straddle_epochs_read_no_more(outputs: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(outputs, outputs.ids, budget_mb=0)
    opened.clear()
    for start in range(0, 4 * NUM_ROWS, 32):
        items, epochs = visits(start, 32, size=NUM_ROWS, seed=0)
        cache.take(items, 1 + epochs % 2)
    # 608 visits: four whole epochs and the beginning of a fifth.
    assert len(read(chunk_reads)) == 5 * 3


def test_nothing_is_read_twice_while_the_budget_holds_every_view(outputs: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(outputs, outputs.ids, budget_mb=1)
    opened.clear()
    for view in (0, 1, 2, 0, 1, 2, 0):
        cache.take(np.arange(NUM_ROWS), np.full(NUM_ROWS, view))
    assert len(read(chunk_reads)) == 3 * 3


def test_what_is_held_stays_within_the_budget(outputs: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(outputs, outputs.ids, budget_mb=1)
    # A view of 150 rows takes 150 * (4 * 2 + 9 * 4 + 64) = 16,200 bytes; let two of them fit.
    cache._budget_bytes = 40_000
    opened.clear()
    for view in (0, 1, 2):  # view 0 goes when view 2 comes
        cache.take(np.arange(NUM_ROWS), np.full(NUM_ROWS, view))
    for view, reads in ((2, 9), (1, 9), (0, 12)):
        cache.take(np.arange(NUM_ROWS), np.full(NUM_ROWS, view))
        assert len(read(chunk_reads)) == reads


def test_a_view_is_held_once_while_it_is_read_too(tmp_path: Path) -> None:
    """20,000 rows of 1 kB in chunks of 4 MiB at most, and 100 bytes a row of how they were cut."""
    ids = [f"{row}" for row in range(20_000)]
    writer = writer_of_every_view(tmp_path, ids, num_views=1, row_shape=(512,), attributes={})
    for chunk in writer.chunks():
        rows = chunk.stop - chunk.start
        fields, thumbnails = np.zeros((rows, 9), np.float32), np.zeros((rows, 64), np.uint8)
        writer.write(chunk, np.ones((rows, 512), np.float16), fields, thumbnails)
    cache = ViewCache(ViewOutputs(tmp_path), ids[::-1], budget_mb=0)
    tracemalloc.start()
    cache.take(np.asarray([0]), np.asarray([0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.7 * 20_000 * (1024 + 100)


def test_chunks_without_chosen_images_are_not_read(outputs: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(outputs, ["image 149", "image 003"], budget_mb=1)
    opened.clear()
    assert cache.take(np.asarray([0, 1]), np.asarray([2, 2])).outputs[:, 0].tolist() == [149, 3]
    assert [file.split("/c/")[1] for file in read(chunk_reads)] == ["0/2/0", "2/2/0"]


def test_images_without_cached_outputs_are_counted_and_the_first_is_named(outputs: ViewOutputs) -> None:
    with pytest.raises(CacheMismatchError, match=r"no cached outputs of 2 of \d+ images, the first is 'image 150'"):
        ViewCache(outputs, ["image 000", "image 150", "image 151"], budget_mb=1)


# --- maps --------------------------------------------------------------------------------------------------------


@pytest.fixture
def maps(tmp_path: Path) -> ViewOutputs:
    """As `outputs`, in maps [4, 2, 1] whose second cell has the negatives."""
    ids = [f"image {row:03d}" for row in range(NUM_ROWS)]
    writer = writer_of_every_view(tmp_path, ids, num_views=NUM_VIEWS, row_shape=(WIDTH, 2, 1), attributes={})
    for chunk in writer.chunks():
        rows = np.arange(chunk.start, chunk.stop)
        values = np.stack([rows, np.full_like(rows, chunk.view), rows + chunk.view, rows * 0], axis=1)
        cells = np.stack([values, -values], axis=2)[..., None].astype(np.float16)
        views = np.repeat(rows[:, None] * 10 + chunk.view, 9, axis=1).astype(np.float32)
        writer.write(chunk, cells, views, np.full((len(rows), 64), chunk.view, np.uint8))
    return ViewOutputs(tmp_path)


def test_maps_come_with_their_views_and_thumbnails_in_the_order_of_the_batch(maps: ViewOutputs) -> None:
    cache = ViewCache(maps, ["image 120", "image 007", "image 149"], budget_mb=0)
    seen = cache.take(np.asarray([2, 0, 0, 1]), np.asarray([1, 2, 1, 1]))
    assert seen.outputs.shape == (4, WIDTH, 2, 1)
    assert seen.outputs[:, 0, 0, 0].tolist() == [149, 120, 120, 7]
    assert seen.outputs[:, 2, 1, 0].tolist() == [-150, -122, -121, -8]
    assert seen.views_N9[:, 0].tolist() == [1491, 1202, 1201, 71]
    assert seen.thumbnails_N64[:, 5].tolist() == [1, 2, 1, 1]


def test_a_batch_of_maps_opens_the_chunks_of_its_own_rows_alone(maps: ViewOutputs, chunk_reads: list[str]) -> None:
    cache = ViewCache(maps, maps.ids, budget_mb=1)
    cache.take(np.asarray([0]), np.asarray([1]))
    opened.clear()
    for _ in range(3):
        cache.take(np.asarray([3, 60, 2]), np.asarray([1, 1, 1]))
    assert {file.split("/c/")[1] for file in read(chunk_reads)} == {"0/1/0/0/0"}
    assert len(read(chunk_reads)) == 3


def test_no_view_of_maps_is_held_in_memory(tmp_path: Path) -> None:
    """64 maps of 200 kB in each of 2 views, 26 MB in all; what a batch of 4 takes is 0.8 MB."""
    ids = [f"{row}" for row in range(64)]
    writer = writer_of_every_view(tmp_path, ids, num_views=2, row_shape=(100, 32, 32), attributes={})
    for chunk in writer.chunks():
        rows = chunk.stop - chunk.start
        fields, thumbnails = np.zeros((rows, 9), np.float32), np.zeros((rows, 64), np.uint8)
        writer.write(chunk, np.ones((rows, 100, 32, 32), np.float16), fields, thumbnails)
    cache = ViewCache(ViewOutputs(tmp_path), ids, budget_mb=1000)
    tracemalloc.start()
    for start in range(0, 64, 4):
        for view in range(2):
            cache.take(np.arange(start, start + 4), np.full(4, view))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
