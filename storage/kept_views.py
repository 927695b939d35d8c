"""Views as they were cut, kept on the disk: what one step has cut, the next students, seeds and evaluations read.

    views/<image-set>/<fingerprint>.table    slots of one size: 16 bytes of key, CRC-32C of the pixels, pixels

A table is a hash table with open addressing in a sparse file, for one image-set and one way of cutting. It is a cache
and nothing but that: whatever is lost, torn by a power cut or written over by another process is cut again, as a slot
counts only where it has the key that is asked for and its pixels have their checksum. So nothing is locked and nothing
waits for the disk, and what has been kept is never dropped for another view: an epoch takes each once.
"""

import contextlib
import logging
import os
import shutil
import time
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import google_crc32c
import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

VIEWS = "views"
KEY_BYTES = 16
DAY_SECONDS = 24 * 60 * 60.0

_HEAD_BYTES = KEY_BYTES + 4
_EMPTY = bytes(KEY_BYTES)
_SLOTS_A_VIEW = 2
"""A table that is half full finds nearly all of its views in the first slots it looks at; empty ones take no disk."""
_LOOKED_AT = 8
_PART_OF_FREE = 10
_BLOCK_BYTES = 512
"""In which systems count what a file takes."""

Bytes = npt.NDArray[np.uint8]


class TablePlace(NamedTuple):
    """Where a table is, or is to be."""

    path: Path
    num_views: int
    """That it is to have room for, where the disk has."""
    budget_mb: int
    """For all tables of the store, in MiB."""


class KeptViews:
    """One table, for any number of threads and processes."""

    def __init__(self, path: Path, descriptor: int, view_bytes: int, num_slots: int) -> None:
        self._path, self._descriptor, self._view_bytes, self._num_slots = path, descriptor, view_bytes, num_slots
        self._is_written = True
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, place: TablePlace, view_bytes: int) -> Self | None:
        """Return the table of views of so many bytes, new where there is none; None where there is no room for one, or
        nothing can be written there: then every view is cut anew, and the log says so.

        A new table takes half of what is left of the budget at most, so that one of large views leaves room for others,
        and no more than a tenth of what is free on the disk.
        """
        try:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            num_bytes = 0 if place.path.exists() else _room(place)
            num_slots = min(num_bytes // (_HEAD_BYTES + view_bytes), _SLOTS_A_VIEW * place.num_views)
            if not num_slots and not place.path.exists():
                return None
            descriptor = os.open(place.path, os.O_RDWR | os.O_CREAT, 0o666)
            if not os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, num_slots * (_HEAD_BYTES + view_bytes))
            os.utime(place.path)  # when it was used last
            num_slots = os.fstat(descriptor).st_size // (_HEAD_BYTES + view_bytes)
        except OSError as error:
            log.info("views are not kept in %s, and each is cut anew (%s)", place.path, error.strerror)
            return None
        return cls(place.path, descriptor, view_bytes, num_slots)

    def read(self, key: bytes) -> Bytes | None:
        """Return the pixels kept under a key of KEY_BYTES bytes; None where there are none, or not as they were
        written.
        """
        try:
            for start, head in self._slots(key):
                if head[:KEY_BYTES] == key:
                    pixels = np.empty(self._view_bytes, np.uint8)
                    num_read = os.preadv(self._descriptor, [pixels.data], start + _HEAD_BYTES)
                    is_whole = num_read == len(pixels) and _checksum(pixels) == head[KEY_BYTES:]
                    return pixels if is_whole else None
                if head[:KEY_BYTES] == _EMPTY:
                    return None
        except OSError as error:
            self._stop(error)
        return None

    def write(self, key: bytes, pixels: Bytes) -> None:
        """Keep the pixels of a view, of any shape, where there is a slot for them."""
        if not self._is_written:
            return
        try:
            for start, head in self._slots(key):
                if head[:KEY_BYTES] in (key, _EMPTY):  # under its key: torn ones, or another thread was faster
                    contiguous = np.ascontiguousarray(pixels).reshape(-1)
                    os.pwritev(self._descriptor, [key + _checksum(contiguous), contiguous.data], start)
                    return
        except OSError as error:
            self._stop(error)

    def _slots(self, key: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield where each slot that may hold a key starts, and its head."""
        first = int.from_bytes(key[:8], "little")
        for step in range(min(_LOOKED_AT, self._num_slots)):
            start = (first + step) % self._num_slots * (_HEAD_BYTES + self._view_bytes)
            yield start, os.pread(self._descriptor, _HEAD_BYTES, start)

    def _stop(self, error: OSError) -> None:
        if self._is_written:
            log.warning("no more views are kept in %s, and each is cut anew (%s)", self._path, error.strerror)
        self._is_written = False


def delete_unused_views(root: Path, images: Collection[str]) -> None:
    """Delete the tables that nobody has used for a day, and those of all image-sets but these fingerprints. Whoever
    reads one goes on with it.
    """
    for path, found in _tables(root).items():
        if path.parent.name not in images or _is_unused(found):
            path.unlink(missing_ok=True)
    for folder in root.glob("*/"):
        with contextlib.suppress(OSError):  # there are tables in it
            folder.rmdir()


def _room(place: TablePlace) -> int:
    """Return how many bytes a new table may have; where the budget is spent, those go that nobody has used for a
    day, the oldest first.
    """
    tables = _tables(place.path.parents[1])
    spent = bytes_kept(place.path.parents[1])
    budget = place.budget_mb << 20
    for path, found in sorted(tables.items(), key=lambda one: one[1].st_mtime):
        if 2 * spent <= budget or not _is_unused(found):
            break
        path.unlink(missing_ok=True)
        spent -= found.st_blocks * _BLOCK_BYTES
    return max(0, min((budget - spent) // 2, shutil.disk_usage(place.path.parent).free // _PART_OF_FREE))


def bytes_kept(root: Path) -> int:
    """Return what all tables take of the disk: the holes of a sparse file take nothing."""
    return sum(found.st_blocks * _BLOCK_BYTES for found in _tables(root).values())


def _tables(root: Path) -> dict[Path, os.stat_result]:
    found = {}
    for path in root.glob("*/*.table"):
        with contextlib.suppress(FileNotFoundError):  # another process deletes it
            found[path] = path.stat()
    return found


def _is_unused(found: os.stat_result) -> bool:
    return found.st_mtime < time.time() - DAY_SECONDS


def _checksum(pixels: Bytes) -> bytes:
    return int(google_crc32c.value(pixels.tobytes())).to_bytes(4, "little")
