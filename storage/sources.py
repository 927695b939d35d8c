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
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from taskdistill.storage.errors import NotInStoreError, SourceError
from taskdistill.storage.files import atomic, make_folder, sha256_of, state_of
from taskdistill.storage.tree import Found, find, unreadable

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
    return (folder / found.path for found in _visible(folder))


def _visible(folder: Path) -> Iterator[Found]:
    dead = []
    for found in find(folder):
        if found.kind == "file":
            yield found
        elif found.kind == "dead link":
            dead.append(found.path)
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
    digest = hashlib.sha256()
    for path, sha256 in sorted(contents):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


class _Look(NamedTuple):
    """What tells that files are unchanged, found without reading any: one name and one state for each file."""

    names: list[str]
    """Relative to the folder; of a single file "."."""
    states: list[str]
    """What tells of each that it is unchanged (storage.files.state_of)."""

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join([*self.names, *self.states]).encode()).hexdigest()


class _Known(NamedTuple):
    """What was remembered of each file, in columns: as objects a million files would take a gigabyte."""

    names: list[str]
    states: list[str]
    sha256s: list[str]

    def unchanged(self, look: _Look) -> Iterator[str]:
        """Yield the digest of each file looked at, "" where it is not known or was of another state."""
        known = {name: (state, sha256) for name, state, sha256 in zip(*self, strict=True)}
        for name, state in zip(*look, strict=True):
            known_state, sha256 = known.get(name, ("", ""))
            yield sha256 if known_state == state else ""


class _Whole(NamedTuple):
    """What was remembered of a place as a whole."""

    look: str
    """The digest of all names and states."""
    digest: str


_WHOLE, _KNOWN, _NOTHING = TypeAdapter(_Whole), TypeAdapter(_Known), _Known([], [], [])


class SourceDigests:
    """Digests of external files and folders, remembered in a folder of the store.

    A record has two lines: the digest of the whole with that of all names and states, which is all that is read as long
    as nothing changes, and the digest of each file. It is a memory and nothing else: what cannot be read in it, or was
    written by another version, is taken anew.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._seen: dict[Path, str] | None = None
        """What was found within `looking_once`."""

    @contextmanager
    def looking_once(self) -> Iterator[None]:
        """Within the block, look at each place once: a command asks for the digest of the same folder at many steps.

        What changes after the look has the digest from before it. So this is for naming artifacts and for asking which
        are there; whoever reads the files to make one looks for itself, through SourceDigests of its own.
        """
        outer = self._seen
        self._seen = {} if outer is None else outer
        try:
            yield
        finally:
            self._seen = outer

    def digest(self, location: str) -> str:
        """Return the content digest of a file or folder; NotInStoreError when nothing lies there."""
        path, seen = _place(location), self._seen
        if seen is None:
            return self._digest(path)
        if path not in seen:
            seen[path] = self._digest(path)
        return seen[path]

    def _digest(self, path: Path) -> str:
        if not path.exists():
            raise NotInStoreError(f"{path} does not exist: check the path in the settings")
        look, record = _look(path), self._record(path)
        if (whole := _recalled_whole(record)) and whole.look == look.digest:
            return whole.digest
        sha256s = [
            sha256 or _read(path if name == "." else path / name, state)
            for name, state, sha256 in zip(*look, _recalled(record).unchanged(look), strict=True)
        ]
        digest = tree_digest(zip(look.names, sha256s, strict=True)) if path.is_dir() else sha256s[0]
        self._remember(record, _Whole(look.digest, digest), _Known(*look, sha256s))
        return digest

    def forget(self, location: str) -> None:
        """Read this file or folder again next time, whatever its sizes and times say."""
        path = _place(location)
        (self._seen or {}).pop(path, None)
        self._record(path).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Read every file again next time."""
        (self._seen or {}).clear()
        for record in self._memory.glob("*.json*"):
            record.unlink(missing_ok=True)

    def _remember(self, record: Path, whole: _Whole, known: _Known) -> None:
        """Write down digests, where the store can be written to: they are only a saving of time."""
        try:
            make_folder(self._memory)
            with atomic(record) as partial, partial.open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(line) + "\n" for line in (whole, known))
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            log.warning("digests cannot be remembered in the store (%s): the files are read again next time", error)

    def _record(self, path: Path) -> Path:
        # Not *.json, which earlier versions have: of a store that both use, each would throw away what the other knows.
        return self._memory / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.jsonl"


def _recalled_whole(record: Path) -> _Whole | None:
    try:
        with record.open("rb") as lines:
            return _WHOLE.validate_json(lines.readline())
    except (FileNotFoundError, ValidationError):
        return None


def _recalled(record: Path) -> _Known:
    try:
        with record.open("rb") as lines:
            known = _KNOWN.validate_json(lines.read().partition(b"\n")[2])
    except (FileNotFoundError, ValidationError):
        return _NOTHING
    return known if len({len(column) for column in known}) == 1 else _NOTHING


def _look(path: Path) -> _Look:
    """Look at a file, or at all visible ones of a folder; NotInStoreError where one is no longer there."""
    names, states = [], []
    found = ((one.path, one.at.stat) for one in _visible(path)) if path.is_dir() else [(".", path.stat)]
    for name, stat_of in found:
        try:
            status = stat_of()
        except FileNotFoundError:
            raise NotInStoreError(f"{path / name} is a link to nothing: repair or remove it") from None
        except OSError as error:
            raise unreadable(path / name, error) from error
        names.append(name)
        states.append(state_of(status))
    return _Look(names, states)


def _read(file: Path, state: str) -> str:
    """Return the digest of a file that had this state a moment ago."""
    changed_ns = int(state.rpartition(" ")[2])
    if 0 <= time.time_ns() - changed_ns < CLOCK_TICK_NS:
        time.sleep(CLOCK_TICK_NS / 1e9)
    return content_digest(file)


def _place(location: str) -> Path:
    return Path(location).expanduser().absolute()
