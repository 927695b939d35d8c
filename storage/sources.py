"""Content digests of what lies outside the store: image folders and weight files.

A digest is taken once by reading every byte; afterwards a file is not read again while its size, its times of change
and its inode are what they were. Programs can set a modification time, but not the time of the last change (ctime),
which the kernel notes. A file that was only moved or copied is read once more. Where a file system keeps neither,
`--rehash` forgets what is remembered; so does a stage that finds other content than its recipe names.

The digest of a folder covers the relative paths and contents of all its files, so it is the same wherever the folder
lies. Hidden files are left out: desktop programs write them unasked; so is what storage.tree says cannot be read as a
file.
"""

import errno
import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taskdistill.storage.errors import NotInStoreError, SourceError
from taskdistill.storage.files import make_folder, read_json_if_whole, sha256_of, write_json
from taskdistill.storage.tree import unreadable, walk

log = logging.getLogger(__name__)

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS put in place of a large one, until 'git lfs pull'."""

CLOCK_TICK_NS = 20_000_000
"""Within one tick of a file system's clock (1 to 10 ms on Linux) two changes of a file have the same time: what has
just been written is read after the tick, so that whatever comes later has another time.
"""


def visible_files(folder: Path) -> Iterator[Path]:
    """Every regular file below `folder` that is not hidden, links followed, in a fixed order. SourceError where
    something cannot be looked into; NotInStoreError, after all files, where links lead to nothing.
    """
    return (folder / name for name in _visible_names(folder))


def _visible_names(folder: Path) -> Iterator[str]:
    dead = []
    for entry in walk(folder):
        if entry.kind == "file":
            yield entry.path
        elif entry.kind == "dead link":
            dead.append(entry.path)
    if dead:
        others = f" (and {len(dead) - 1} more: fetch what they lead to, as by 'git annex get' or 'dvc pull')"
        raise NotInStoreError(
            f"{folder / dead[0]} is a link to nothing: repair or remove it{others if len(dead) > 1 else ''}"
        )


def content_digest(file: Path) -> str:
    """Return the SHA-256 of a user's file; SourceError where it cannot be read, or is a pipe or a device."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise SourceError(f"{file} is a pipe, a device or a folder: only regular files are read")
        return sha256_of(file)
    except OSError as error:
        raise unreadable(file, error) from error


def tree_digest(contents: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a folder from each file's relative POSIX path and SHA-256, in any order."""
    lines = sorted(f"{path}\0{sha256}\n" for path, sha256 in contents)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class SourceDigests:
    """Digests of external files and folders, remembered in a folder of the store.

    It is a memory and nothing else: what cannot be read in it, or was written by another version, is taken anew.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._of_this_moment: dict[str, str] | None = None

    @contextmanager
    def of_one_moment(self) -> Iterator[None]:
        """Look at each file and folder once within the block, however often its digest is asked for: a plan of many
        steps is one moment, and a folder has many files.
        """
        self._of_this_moment = {}
        try:
            yield
        finally:
            self._of_this_moment = None

    def digest(self, location: str) -> str:
        """Return the content digest of a file or folder; NotInStoreError when nothing lies there."""
        if self._of_this_moment is None:
            return self._digest(location)
        if location not in self._of_this_moment:
            self._of_this_moment[location] = self._digest(location)
        return self._of_this_moment[location]

    def _digest(self, location: str) -> str:
        path = _place(location)
        if not path.exists():
            raise NotInStoreError(f"{path} does not exist: check the path in the settings")
        known = read_json_if_whole(self._record(path))
        known = known if isinstance(known, dict) else {}
        # Names are text here, and each file is asked about once: a million of them are looked at before every run.
        names = _visible_names(path) if path.is_dir() else ["."]
        now = {name: self._entry(f"{path}/{name}" if name != "." else str(path), known.get(name)) for name in names}
        if now != known:
            self._remember(path, now)
        if path.is_file():
            return str(now["."][-1])
        return tree_digest((name, entry[-1]) for name, entry in now.items())

    def forget(self, location: str) -> None:
        """Read this file or folder again next time, whatever its sizes and times say."""
        self._record(_place(location)).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Read every file again next time."""
        for record in self._memory.glob("*.json"):
            record.unlink(missing_ok=True)

    def _remember(self, path: Path, now: dict[str, list[Any]]) -> None:
        """Write down digests, where the store can be written to: they are only a saving of time."""
        try:
            make_folder(self._memory)
            write_json(self._record(path), now)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            log.warning("digests cannot be remembered in the store (%s): the files are read again next time", error)

    def _record(self, path: Path) -> Path:
        return self._memory / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"

    @staticmethod
    def _entry(file: str, known: Any) -> list[Any]:
        """Return what tells that a file is unchanged, and its digest last."""
        try:
            status = os.stat(file)
        except FileNotFoundError:
            raise NotInStoreError(f"{file} is a link to nothing: repair or remove it") from None
        now = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]
        if isinstance(known, list) and known[:-1] == now:
            return known
        if 0 <= time.time_ns() - status.st_ctime_ns < CLOCK_TICK_NS:
            time.sleep(CLOCK_TICK_NS / 1e9)
        return [*now, content_digest(Path(file))]


def _place(location: str) -> Path:
    return Path(location).expanduser().absolute()
