"""Content digests of what lies outside the store: image folders and weight files.

A digest is taken once by reading every byte; afterwards a file whose size and modification time are unchanged is not
read again. The digest of a folder covers the relative paths and contents of all its files, so it is the same wherever
the folder lies. Hidden files are left out: desktop programs write them unasked; so is what storage.tree says cannot
be read as a file.
"""

import errno
import hashlib
import logging
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from storage.errors import NotInStoreError, SourceError
from storage.files import read_json, sha256_of, write_json
from storage.tree import unreadable, walk

log = logging.getLogger(__name__)


def visible_files(folder: Path) -> Iterator[Path]:
    """Every regular file below `folder` that is not hidden, links followed, in a fixed order. SourceError where
    something cannot be looked into; NotInStoreError, after all files, where links lead to nothing.
    """
    dead = []
    for entry in walk(folder):
        if entry.kind == "file":
            yield folder / entry.path
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
    """Digests of external files and folders, remembered in a folder of the store by size and modification time."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    def digest(self, location: str) -> str:
        """Return the content digest of a file or folder; NotInStoreError when nothing lies there."""
        path = Path(location).expanduser().absolute()
        if not path.exists():
            raise NotInStoreError(f"{path} does not exist: check the path in the settings")
        record = self._memory / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
        known = read_json(record) if record.is_file() else {}
        files = list(visible_files(path)) if path.is_dir() else [path]
        now = {str(file.relative_to(path)): self._entry(file, known.get(str(file.relative_to(path)))) for file in files}
        if now != known:
            _remember(record, now)
        if path.is_file():
            return str(now["."][2])
        return tree_digest((Path(name).as_posix(), entry[2]) for name, entry in now.items())

    @staticmethod
    def _entry(file: Path, known: list[Any] | None) -> list[Any]:
        if not file.exists():
            raise NotInStoreError(f"{file} is a link to nothing: repair or remove it")
        status = file.stat()
        if known and known[:2] == [status.st_size, status.st_mtime_ns]:
            return known
        return [status.st_size, status.st_mtime_ns, content_digest(file)]


def _remember(record: Path, now: dict[str, list[Any]]) -> None:
    """Write down digests, where the store can be written to: they are only a saving of time."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, now)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        log.warning("digests cannot be remembered in the store (%s): the files are read again next time", error)
