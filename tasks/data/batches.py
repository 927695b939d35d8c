"""Views of an image-set as batches: rows decoded, kept while there is room, and cut at a network's size.

What one step of training sees is chosen elsewhere, by the `draw` and `load` of a lesson (`tasks.training.lesson`).

Shape letters: N images, H W pixels; 9 numbers cut a view, 64 pixels are its thumbnail, 4 numbers are the area in which
it shows its image.
"""

import functools
import hashlib
import itertools
import math
import threading
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from taskdistill.configs.data import ViewSettings
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.kept_views import KEY_BYTES, KeptViews
from taskdistill.storage.manifest import advice
from taskdistill.tasks.data.decode import NoLevelsError, decode_rgb, needs_levels
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.functional.views import (
    CLEAN_VIEW,
    NOT_PADDED,
    Pixels,
    Size,
    View,
    draw_view,
    shown_area,
    shown_window,
    thumbnail,
)
from taskdistill.tasks.models.preprocessing import Preprocessing

_SCALED_ALONE = (
    "has more than 8 bits a channel, and its image-set is of an earlier version, which scaled each of them by its own "
    "largest value, so that dark ones came out bright"
)


def check_levels(images: ImageSet, *, looked_at: int = 64) -> None:
    """Raise CorruptArtifactError where a set without levels holds images that need them; looks at some of its images,
    spread over the set, as cameras of more than 8 bits seldom make others too.
    """
    if images.levels is not None:
        return
    for row in np.linspace(0, len(images) - 1, min(looked_at, len(images))).astype(int).tolist():
        if needs_levels(images.image(row)):
            raise CorruptArtifactError(f"image {images.ids[row]!r} {_SCALED_ALONE}: {advice(images.folder)}")


def decoded_row(images: ImageSet, row: int, *, memory: DecodeMemory | None = None) -> Pixels:
    """Return an image of a set as uint8 [H, W, 3], RGB, upright.

    Raises CorruptArtifactError where it cannot be decoded, and DecodeMemoryError where it alone needs more than there
    is of `memory`; both name the image.
    """
    name = f"image {images.ids[row]!r}"
    try:
        return decode_rgb(images.image(row), images.levels, memory=memory)
    except UnreadableImageError as error:  # ingest decoded it, so the bytes have changed since
        raise CorruptArtifactError(f"{name}: {error}; {advice(images.folder)}") from error
    except NoLevelsError as error:
        raise CorruptArtifactError(f"{name} {_SCALED_ALONE}: {advice(images.folder)}") from error
    except DecodeMemoryError as error:
        raise DecodeMemoryError(f"{name}: {error}") from None


def halves(budget_mb: int) -> tuple[int, int]:
    """Return what of a memory is for images decoded, and what for views cut from them."""
    return budget_mb - budget_mb // 2, budget_mb // 2


class DecodedImages:
    """Decoded images of a set by row, kept in memory while the budget lasts. For any number of threads.

    Those being decoded take `decode_mb` besides; without it, as many are decoded at once as threads ask for.
    """

    def __init__(self, images: ImageSet, *, cache_mb: int, decode_mb: int | None = None) -> None:
        self.images = images
        self._memory = DecodeMemory(decode_mb) if decode_mb is not None else None
        self._kept: dict[int, Pixels] = {}
        self._free_bytes = cache_mb * 2**20
        self._lock = threading.Lock()

    def pixels(self, row: int) -> Pixels:
        """Return the image as uint8 [H, W, 3], RGB, upright; CorruptArtifactError and DecodeMemoryError as
        `decoded_row` raises them.
        """
        # One look-up, as `forget` may drop it between two; without the lock, which is for the budget.
        if (kept := self._kept.get(row)) is not None:
            return kept
        # Not under the lock, or threads would decode one after the other. Two that want the same row decode it twice,
        # which happens seldom and does no harm: the second is not kept.
        pixels = decoded_row(self.images, row, memory=self._memory)
        with self._lock:
            # What is kept is never dropped for another image: an epoch takes every row once, so that none is wanted
            # sooner than another, and dropping would only cost decoding.
            if pixels.nbytes <= self._free_bytes and row not in self._kept:
                self._kept[row] = pixels
                self._free_bytes -= pixels.nbytes
        return pixels

    def keeps(self, row: int) -> bool:
        """Say whether the image is there decoded."""
        return row in self._kept

    def forget(self, rows: Sequence[int]) -> None:
        """Drop these images, which do not come again."""
        with self._lock:
            self._free_bytes += sum(self._kept.pop(row).nbytes for row in rows if row in self._kept)


class ViewSource:
    """Views of an image-set as one network takes them, at that network's size and resampling.

    `views_mb` is memory for cut views, for whoever wants the same ones again: on few images each of their views comes
    back after some epochs, and cutting it takes as long as a small network takes to learn from it. `ahead_mb` is memory
    for views that were cut before they were asked for, once each (`cut_ahead`). `on_disk` has views that another step
    has cut, and is given those that are cut here.
    """

    def __init__(
        self,
        decoded: DecodedImages,
        settings: ViewSettings,
        preprocessing: Preprocessing,
        *,
        views_mb: int = 0,
        ahead_mb: int = 0,
        on_disk: KeptViews | None = None,
    ) -> None:
        self.images = decoded.images
        self.preprocessing = preprocessing
        self._decoded, self._settings, self._on_disk = decoded, settings, on_disk
        self._kept: dict[tuple[int, bytes], Pixels] = {}
        self._ahead: dict[tuple[int, bytes], Pixels] = {}
        self._free_views, self._free_ahead = (
            (megabytes << 20) // (3 * math.prod(preprocessing.size)) for megabytes in (views_mb, ahead_mb)
        )
        self._lock = threading.Lock()
        self._rows: dict[int, threading.Lock] = {}
        self._rows_tried: set[int] = set()

    def views(self, rows: Sequence[int], numbers: Sequence[int]) -> View:
        """Return how one view of each row is cut, [N, 9]: CLEAN_VIEW is the clean one, the augmented ones count
        from 1.
        """
        return np.stack([self._view(row, number) for row, number in zip(rows, numbers, strict=True)])

    def cut_ahead(self, rows: Sequence[int], numbers: Sequence[int]) -> None:
        """Decode each of these images and, where there is no room to keep it so, cut these views of it at once for
        `cut` to find: a large photograph costs more to decode than all of its views. Where there is no room for them
        either, nothing is done: it is decoded for each view that it is cut for.
        """
        waiting: list[threading.Lock] = []
        # Whoever comes for another view of a row meanwhile waits, else both would decode it; but first it does those
        # that nobody is at, else all threads would go from row to row together, one decoding, the others waiting.
        for row in rows:
            with self._lock:
                mine = self._rows.setdefault(row, threading.Lock())
            if not mine.acquire(blocking=False):
                waiting.append(mine)
                continue
            try:
                self._fill_ahead(row, numbers)
            finally:
                mine.release()
        for lock in waiting:
            with lock:
                pass

    def _fill_ahead(self, row: int, numbers: Sequence[int]) -> None:
        """Cut views of an image, where nobody has tried to yet and there is room for them."""
        with self._lock:
            has_room = row not in self._rows_tried and self._free_ahead >= len(numbers)
            self._rows_tried.add(row)
            self._free_ahead -= len(numbers) if has_room else 0
        if not has_room:
            return
        cut: dict[tuple[int, bytes], Pixels] = {}
        try:
            views = {(row, view_9.tobytes()): view_9 for view_9 in self.views([row] * len(numbers), numbers)}
            cut = {key: view_HW3 for key in views if (view_HW3 := self._from_disk(*key)) is not None}
            if len(cut) < len(views):
                pixels = self._decoded.pixels(row)
                if not self._decoded.keeps(row):
                    cut |= {key: self._resized(row, pixels, views[key]) for key in views.keys() - cut.keys()}
        finally:
            with self._lock:
                self._free_ahead += len(numbers) - len(cut)
                self._ahead |= cut

    def cut(self, rows: Sequence[int], views_N9: View) -> Pixels:
        """Return the views of the rows as uint8 [N, H, W, 3]; an image is decoded once for views that follow each
        other.
        """
        cut = []
        for row, group in itertools.groupby(zip(rows, views_N9, strict=True), key=lambda one: one[0]):
            pixels = functools.cache(functools.partial(self._decoded.pixels, row))  # not where all views are kept
            cut += [self._cut(row, view_9, pixels) for _, view_9 in group]
        return np.stack(cut)

    def thumbnails(self, rows: Sequence[int], views_N9: View, pixels_NHW3: Pixels) -> Pixels:
        """Return the thumbnail [N, 64] of each view, given as it was cut, padding left out."""
        windows = [
            shown_window(view, self._size_of(row), self.preprocessing.size)
            for row, view in zip(rows, views_N9, strict=True)
        ]
        return np.stack([thumbnail(view[window]) for view, window in zip(pixels_NHW3, windows, strict=True)])

    def shown(self, rows: Sequence[int], views_N9: View) -> npt.NDArray[np.float32] | None:
        """Return the area of each view that shows the image, [N, 4] (`shown_area`); None where no view is padded."""
        areas_N4 = [shown_area(view, *self._size_of(row)) for row, view in zip(rows, views_N9, strict=True)]
        return np.stack(areas_N4) if any(area.tolist() != NOT_PADDED for area in areas_N4) else None

    def _cut(self, row: int, view_9: View, pixels: Callable[[], Pixels]) -> Pixels:
        # By how it is cut, not by its number: the views of a teacher's cache come without one.
        key = row, view_9.tobytes()
        with self._lock:
            if (ahead := self._ahead.pop(key, None)) is not None:
                self._free_ahead += 1
                return ahead
        if (kept := self._kept.get(key)) is not None:
            return kept
        if (pixels_HW3 := self._from_disk(*key)) is None:
            pixels_HW3 = self._resized(row, pixels(), view_9)
        with self._lock:  # never dropped for another, as with decoded images
            if self._free_views and key not in self._kept:
                self._kept[key] = pixels_HW3
                self._free_views -= 1
        return pixels_HW3

    def _resized(self, row: int, pixels_HW3: Pixels, view_9: View) -> Pixels:
        view_HW3 = self.preprocessing.cut(pixels_HW3, view_9, self._settings.resize)
        if self._on_disk:
            self._on_disk.write(_disk_key(row, view_9.tobytes()), view_HW3)
        return view_HW3

    def _from_disk(self, row: int, view: bytes) -> Pixels | None:
        """Return a view that another step has cut, given by how it is cut."""
        found = self._on_disk.read(_disk_key(row, view)) if self._on_disk else None
        return None if found is None else found.reshape(*self.preprocessing.size, 3)

    def forget_pixels(self, rows: Sequence[int]) -> None:
        """Drop these images and the views cut of them, which do not come again."""
        self._decoded.forget(rows)
        over = set(rows)
        with self._lock:
            self._free_views += _drop(self._kept, over)
            self._free_ahead += _drop(self._ahead, over)
            self._rows_tried -= over
            self._rows = {row: lock for row, lock in self._rows.items() if row not in over}

    def _view(self, row: int, number: int) -> View:
        height, width = self._size_of(row)
        if number == CLEAN_VIEW:
            return self.preprocessing.clean(height, width)
        return draw_view(self.images.ids[row], number, height, width, self._settings)

    def _size_of(self, row: int) -> Size:
        # From the index, not from the pixels: how a view is cut is known without decoding its image.
        return int(self.images.heights[row]), int(self.images.widths[row])


def _disk_key(row: int, view: bytes) -> bytes:
    """Return what a view is kept under: its row, and how it is cut; of which images, the table knows."""
    return hashlib.blake2b(int(row).to_bytes(8, "little") + view, digest_size=KEY_BYTES).digest()


def _drop(views: dict[tuple[int, bytes], Pixels], rows: Collection[int]) -> int:
    """Drop the views of these rows; returns how many there were."""
    gone = [key for key in views if key[0] in rows]
    for key in gone:
        del views[key]
    return len(gone)
