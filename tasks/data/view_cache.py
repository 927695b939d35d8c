"""Cached outputs of a frozen network in memory, a view at a time: what keeps zarr out of the training loop. Maps stay
on the disk, and a batch of them is read when it is asked for.

Shape letters: N images, K classes, h w cells of a map; 9 numbers cut a view, 64 pixels are its thumbnail.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.storage.shown_views import NUM_VIEW_FIELDS, THUMBNAIL_PIXELS
from taskdistill.storage.view_outputs import Half, ViewOutputs, rows_by_id
from taskdistill.tasks.functional.views import Pixels, View


class CachedViews(NamedTuple):
    """Outputs [N, ...] of a frozen network, and the views they are of: as cut [N, 9], as thumbnails [N, 64]."""

    outputs: Half
    views_N9: View
    thumbnails_N64: Pixels


class _OnDisk:
    """Outputs of some rows of a view, which are read when they are asked for."""

    nbytes = 0

    def __init__(self, outputs: ViewOutputs, rows_N: npt.NDArray[np.int64], view: int) -> None:
        self._outputs, self._rows_N, self._view = outputs, rows_N, view

    def __getitem__(self, items: npt.NDArray[np.int64]) -> Half:
        return self._outputs.take(self._rows_N[items], self._view)


class _HeldView(NamedTuple):
    """One view of the chosen images."""

    outputs: Half | _OnDisk
    views_N9: View
    thumbnails_N64: Pixels

    def take(self, items: npt.NDArray[np.int64]) -> CachedViews:
        return CachedViews(self.outputs[items], self.views_N9[items], self.thumbnails_N64[items])


class ViewCache:
    """Outputs of chosen images, joined by image id.

    The first use of a view reads each of its chunks once, as far as chosen images lie in it, into the place where it is
    held; after that a batch is one `np.take`. Earlier views are kept while the budget lasts, the oldest going first,
    and one view is always held, so training in the order of epochs reads ceil(rows / rows per chunk) chunks an epoch at
    most, and none at all once everything fits.

    Of maps [K, h, w] only the small fields are held: a view of 20,000 images with 150 classes on 37 x 37 cells is 8 GB.
    Their rows are read batch by batch, and each chunk once more as a whole, to compare its checksum.
    """

    def __init__(self, outputs: ViewOutputs, ids: Sequence[str], *, budget_mb: int) -> None:
        self.outputs = outputs
        self._images = rows_by_id(outputs.ids, ids)
        # By the number of axes, not by size: how an output is read should not change when there are a few more classes.
        self._stays_on_disk = len(outputs.row_shape) > 2
        self._budget_bytes = budget_mb * 2**20
        self._held: dict[int, _HeldView] = {}
        self._view_bytes = 0

    def take(self, items: npt.NDArray[np.int64], views: npt.NDArray[np.int64]) -> CachedViews:
        """Return the cached views of items (positions in `ids`), each item in the view given for it; both are [N].

        Raises CacheMismatchError where an image in `ids` was not shown one of these views.
        """
        # Nearly every batch is of one epoch and so of one view: taken at once, without a mask or a second copy.
        first, *others = [(view, views == view) for view in dict.fromkeys(views.tolist())]
        if not others:
            return self._view(first[0]).take(items)
        # A batch that ends one epoch and begins the next: each part from its own view, put back in the batch's order.
        parts = [(chosen, self._view(view).take(items[chosen])) for view, chosen in (first, *others)]
        # Where each row stands in the batch, view after view, is a permutation; argsort is its inverse.
        order = np.argsort(np.concatenate([np.flatnonzero(chosen) for chosen, _ in parts]))
        found = [part for _, part in parts]
        return CachedViews(
            np.concatenate([part.outputs for part in found])[order],
            np.concatenate([part.views_N9 for part in found])[order],
            np.concatenate([part.thumbnails_N64 for part in found])[order],
        )

    def _view(self, view: int) -> _HeldView:
        if view not in self._held:
            rows = self.outputs.rows_at(self._images, view)
            # Room is made before reading: afterwards one view more than the budget allows would be in memory.
            # All views are of one size, as each holds the same images; it is known once the first is there.
            while self._held and self._view_bytes * (len(self._held) + 1) > self._budget_bytes:
                del self._held[next(iter(self._held))]  # a dictionary keeps the order of insertion: the oldest
            self._held[view] = self._read(rows, view)
            self._view_bytes = sum(field.nbytes for field in self._held[view])
        return self._held[view]

    def _read(self, rows_N: npt.NDArray[np.int64], view: int) -> _HeldView:
        # Made first and filled chunk by chunk: to read the whole view and pick from it would be to hold it twice.
        outputs, num = self.outputs, len(rows_N)
        held: Half | _OnDisk = _OnDisk(outputs, rows_N, view)
        if not self._stays_on_disk:
            held = np.empty((num, *outputs.row_shape), np.float16)
        views_N9 = np.empty((num, NUM_VIEW_FIELDS), np.float32)
        thumbnails_N64 = np.empty((num, THUMBNAIL_PIXELS), np.uint8)
        for chunk, places in _by_chunk(rows_N, outputs.chunks_of(view)):
            rows, span = rows_N[places] - chunk.start, (chunk.start, chunk.stop, view)
            if isinstance(held, np.ndarray):
                held[places] = outputs.rows(*span)[rows]
            views_N9[places] = outputs.view_fields(*span)[rows]
            thumbnails_N64[places] = outputs.thumbnails(*span)[rows]
        return _HeldView(held, views_N9, thumbnails_N64)


def _by_chunk(rows_N: npt.NDArray[np.int64], chunks: Sequence[range]) -> Iterator[tuple[range, npt.NDArray[np.int64]]]:
    """Yield each chunk that some of the rows lie in, with their places among `rows_N`."""
    order_N = np.argsort(rows_N, kind="stable")
    ends = np.searchsorted(rows_N[order_N], [chunk.stop for chunk in chunks])
    for chunk, (first, last) in zip(chunks, itertools.pairwise([0, *ends]), strict=True):
        if first < last:  # others are not read
            yield chunk, order_N[first:last]
