"""Views as they were cut, kept on the disk: what one step has cut, the next students, seeds and evaluations read.

    views/<image-set>/<fingerprint>.table    slots of one size: 16 bytes of key, CRC-32C of key and pixels, pixels

A table is a hash table with open addressing in a sparse file, for one image-set and one way of cutting. It is a cache
and nothing but that: whatever is lost, torn by a power cut or written over by another process is cut again, as a slot
counts only where it has the key that is asked for and the checksum of that key and its pixels. So nothing is locked to
read or write a view and nothing waits for the disk, and what has been kept is never dropped for another view: an epoch
takes each once. A table is locked (flock) for the moment in which another takes its place or it is deleted.
"""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import google_crc32c
import numpy as np
import numpy.typing as npt

from taskdistill.storage.root import NO_LOCKS

log = logging.getLogger(__name__)

VIEWS = "views"
KEY_BYTES = 16
HOUR_SECONDS, DAY_SECONDS = 60 * 60.0, 24 * 60 * 60.0

_TABLE, _BEGUN = ".table", ".begun"
_HEAD_BYTES = KEY_BYTES + 4
_EMPTY = bytes(KEY_BYTES)
_SLOTS_A_VIEW = 2
"""A table that is half full finds nearly all of its views in the first slots it looks at; empty ones take no disk."""
_LOOKED_AT = 8
_PART_OF_FREE = 10
_BLOCK_BYTES = 512
"""In which systems count what a file takes."""
_TRIES, _BETWEEN_TRIES_SECONDS = 20, 0.02
"""To open a table in whose place others put one at the same time, which takes them a moment."""

Bytes = npt.NDArray[np.uint8]


class TablePlace(NamedTuple):
    """Where a table is, or is to be."""

    path: Path
    wanted_views: int
    """That it is to have room for, where the disk has."""
    budget_mb: int
    """For all tables of the store, in MiB."""


class KeptViews:
    """One table, for any number of threads and processes."""

    def __init__(self, path: Path, descriptor: int, view_bytes: int) -> None:
        self._path, self._descriptor, self._view_bytes = path, descriptor, view_bytes
        self._takes_more = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        self._num_slots = os.fstat(descriptor).st_size // (_HEAD_BYTES + view_bytes)
        self._used = -HOUR_SECONDS
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, place: TablePlace, view_bytes: int) -> Self | None:
        """Return the table of views of so many bytes; None where there is none and no room for one, or nothing can be
        read or written there: then every view is cut anew, and the log says so.

        A table is made where there is none, or one much smaller than it could be. It may grow to half of what is left
        of the budget at most, so that one of large views leaves room for others, and to a tenth of what is free.
        """
        try:
            return cls(place.path, _opened_or_made(place, _HEAD_BYTES + view_bytes), view_bytes)
        except OSError as error:
            log.info("views are not kept in %s, and each is cut anew (%s)", place.path, error.strerror)
            return None

    def read(self, key: bytes) -> Bytes | None:
        """Return the pixels kept under a key of KEY_BYTES bytes; None where there are none, or not as they were
        written.
        """
        self._note_use()
        try:
            for start, head in self._slots(key):
                if head[:KEY_BYTES] == key:
                    pixels = np.empty(self._view_bytes, np.uint8)
                    num_read = os.preadv(self._descriptor, [pixels.data], start + _HEAD_BYTES)
                    is_whole = num_read == len(pixels) and _checksum(key, pixels) == head[KEY_BYTES:]
                    return pixels if is_whole else None
                if head[:KEY_BYTES] == _EMPTY:
                    return None
        except OSError as error:
            self._stop(error)
        return None

    def write(self, key: bytes, pixels: Bytes) -> None:
        """Keep the pixels of a view, of any shape, where there is a slot for them."""
        if not self._takes_more:
            return
        try:
            for start, head in self._slots(key):
                if head[:KEY_BYTES] in (key, _EMPTY):  # under its key: torn ones, or another thread was faster
                    contiguous = np.ascontiguousarray(pixels).reshape(-1)
                    # On a disk that is just full a part is written, which no checksum fits; the next one is refused.
                    os.pwritev(self._descriptor, [key + _checksum(key, contiguous), contiguous.data], start)
                    return
        except OSError as error:
            self._stop(error)

    def _slots(self, key: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield where each slot that may hold a key starts, and its head."""
        first = int.from_bytes(key[:8], "little")
        for step in range(min(_LOOKED_AT, self._num_slots)):
            start = (first + step) % self._num_slots * (_HEAD_BYTES + self._view_bytes)
            yield start, os.pread(self._descriptor, _HEAD_BYTES, start)

    def _note_use(self) -> None:
        """Let the table be as new as its last use, to the hour: those unused for a day go first."""
        if (now := time.monotonic()) - self._used > HOUR_SECONDS:
            self._used = now
            with contextlib.suppress(OSError):  # of another user
                os.utime(self._descriptor)

    def _stop(self, error: OSError) -> None:
        if self._takes_more:
            log.warning("no more views are kept in %s, and each is cut anew (%s)", self._path, error.strerror)
        self._takes_more = False


def delete_unused_views(root: Path, images: Collection[str]) -> None:
    """Delete the tables that nobody has used for a day, and those of all image-sets but these fingerprints. Whoever
    reads one goes on with it.
    """
    for path, found in (_tables(root) | _tables(root, _BEGUN)).items():
        if path.parent.name not in images or _is_unused(found):
            _delete(path, found)
    for folder in root.glob("*/"):
        with contextlib.suppress(OSError):  # there are tables in it
            folder.rmdir()


def bytes_kept(root: Path) -> int:
    """Return what all tables take of the disk: the holes of a sparse file take nothing."""
    return _on_disk(_tables(root))


def _opened_or_made(place: TablePlace, slot_bytes: int) -> int:
    """Return the descriptor of a table of at least half the size that it could have, which is made where there is none;
    of a smaller one where others are in the way all the time. OSError where that fails.
    """
    place.path.parents[1].mkdir(exist_ok=True)  # not the store itself, whose share may have gone
    for _ in range(_TRIES):
        with contextlib.suppress(FileExistsError):
            place.path.parent.mkdir()
        found = _opened(place.path)
        with contextlib.ExitStack() as closing:
            if found is not None:
                closing.callback(os.close, found)
            num_bytes, unused = _room(place, slot_bytes)
            if found is not None and 2 * os.fstat(found).st_size >= max(num_bytes, 2 * slot_bytes):
                closing.pop_all()
                return found
            if not num_bytes:
                raise OSError(errno.ENOSPC, "there is no room for them")
            try:
                _make(place.path, num_bytes, unused, found)
            except (BlockingIOError, FileNotFoundError):  # others replace it, or delete the folder, which is empty
                time.sleep(_BETWEEN_TRIES_SECONDS)
    if (found := _opened(place.path)) is None:
        raise OSError(errno.EBUSY, "others delete them all the time")
    return found


def _make(path: Path, num_bytes: int, unused: Mapping[Path, os.stat_result], small: int | None) -> None:
    """Make a table where there is none, or in the place of one that is open: of fewer views, or without its size after
    a power cut. Whoever has that open goes on with it. Unused ones are deleted for it. Where another process is faster
    its table stays; BlockingIOError while one is at it.
    """
    if small is not None:
        _lock(small)  # until it is closed: from now on nobody else puts a table in its place
        if not _is_at(path, small):
            return
    for other, found in unused.items():
        _delete(other, found)
    # With its size before it has its name: several processes may come for it at the same time.
    made = path.with_name(f"{secrets.token_hex(8)}{_BEGUN}")
    try:
        with made.open("wb") as file:
            file.truncate(num_bytes)
        if small is None:
            with contextlib.suppress(FileExistsError):  # another process was faster
                path.hardlink_to(made)
        else:
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _room(place: TablePlace, slot_bytes: int) -> tuple[int, dict[Path, os.stat_result]]:
    """Return how many bytes a table may have of those it could use, and what must go for it: where the budget is spent,
    tables that nobody has used for a day, the oldest first.
    """
    others = {path: found for path, found in _tables(place.path.parents[1]).items() if path != place.path}
    spent = sum(found.st_size for found in others.values())  # as large as they may grow
    budget, unused = place.budget_mb << 20, dict[Path, os.stat_result]()
    for path, found in sorted(others.items(), key=lambda one: one[1].st_mtime):
        if 2 * spent <= budget or not _is_unused(found):
            break
        unused[path] = found
        spent -= found.st_size
    free = shutil.disk_usage(place.path.parents[1]).free + _on_disk(unused)
    room = max(0, min((budget - spent) // 2, free // _PART_OF_FREE))
    return min(room // slot_bytes, _SLOTS_A_VIEW * place.wanted_views) * slot_bytes, unused


def _opened(path: Path) -> int | None:
    """Return the descriptor of a table; None where there is none."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except PermissionError:  # of another user, who lets this one read it
        return os.open(path, os.O_RDONLY)


def _lock(descriptor: int) -> None:
    """Hold a table until it is closed; BlockingIOError where another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # NFS locks for writing only what may be written. Without locks another process may lose the views of one step.
        if error.errno not in NO_LOCKS | {errno.EBADF}:
            raise


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _tables(root: Path, suffix: str = _TABLE) -> dict[Path, os.stat_result]:
    found = {}
    for folder in root.glob("*/"):
        with contextlib.suppress(FileNotFoundError):  # another process deletes it
            for path in folder.glob(f"*{suffix}"):
                with contextlib.suppress(OSError):
                    found[path] = path.stat()
    return found


def _on_disk(tables: Mapping[Path, os.stat_result]) -> int:
    return sum(found.st_blocks * _BLOCK_BYTES for found in tables.values())


def _is_unused(found: os.stat_result) -> bool:
    return found.st_mtime < time.time() - DAY_SECONDS


def _delete(path: Path, found: os.stat_result) -> None:
    """Delete a table as it was found: not one that was used since, or that another process puts in its place."""
    try:
        with contextlib.ExitStack() as closing:
            with contextlib.suppress(PermissionError):  # of another user, who lets nobody read it
                if (descriptor := _opened(path)) is not None:
                    closing.callback(os.close, descriptor)
                    _lock(descriptor)
            now = path.stat()
            if (now.st_ino, now.st_mtime_ns) == (found.st_ino, found.st_mtime_ns):
                path.unlink()
    except (FileNotFoundError, BlockingIOError):  # another process deletes or replaces it
        return
    except OSError as error:
        log.warning("the kept views in %s cannot be deleted (%s): delete them yourself", path, error.strerror)


def _checksum(key: bytes, pixels: Bytes) -> bytes:
    return int(google_crc32c.extend(google_crc32c.value(key), pixels.tobytes())).to_bytes(4, "little")
