"""What lies in a folder of a user's: files that may be opened, and everything else with what it is.

Only regular files may be opened: a pipe or a device would never end. Links are followed, but for those that lead back
to a folder they lie in. A folder or link that cannot be looked into ends the walk with its name, for what is in it
would be missing without a word.
"""

import errno
import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple

from taskdistill.storage.errors import SourceError

Kind = Literal["file", "folder", "hidden", "link loop", "dead link", "special", "odd name"]
Identity = tuple[int, int]
"""Device and inode of a folder."""

MAX_LINKS = 4
"""Folder links on one path. Twelve folders with a link to each other make half a billion paths, none of them a loop."""
SYSTEM_FOLDERS = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "#recycle", "@eaDir")
"""Folders that the system keeps for itself, often closed to everyone else."""


class Entry(NamedTuple):
    path: str
    """Relative to the folder, with forward slashes; bytes that are no UTF-8 are written as \\xe9."""
    kind: Kind
    """odd name: a file whose path is not UTF-8, so that no table or record could hold it. Special: a pipe or device."""


class _Folder(NamedTuple):
    location: str
    prefix: str
    """Its path below the folder walked, with a slash behind it; may hold surrogates for bytes that are no UTF-8."""
    above: frozenset[Identity]
    """Itself and the folders it lies in, up to the root."""
    num_links: int


class Found(NamedTuple):
    """An entry with what the system says of it."""

    path: str
    kind: Kind
    at: os.DirEntry[str]


def walk(folder: Path) -> Iterator[Entry]:
    """Yield all that lies below `folder`, files of a folder before those deeper, in a fixed order; what lies in hidden
    folders is not told. SourceError where something cannot be looked into.
    """
    return (Entry(path, kind) for path, kind, _ in find(folder))


def find(folder: Path) -> Iterator[Found]:
    """Do the same, with the entry of the system, which knows size and times of a file at the price of one call."""
    place = folder.resolve()
    waiting = [_Folder(str(folder), "", frozenset(map(_identity, (place, *place.parents))), 0)]
    while waiting:
        here = waiting.pop()
        deeper = []
        for entry in _entries(here):
            kind = _kind(entry, here)
            if kind == "folder":
                deeper.append(_below(here, entry))
            path = f"{here.prefix}{entry.name}"
            readable = as_text(path)
            yield Found(readable, "odd name" if kind == "file" and readable != path else kind, entry)
        waiting.extend(reversed(deeper))  # the last is taken next, so that folders come in the order of their names


def as_text(name: str) -> str:
    """Return a name from the file system as text that can be written anywhere; unchanged if it is UTF-8."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def unreadable(path: str | Path, error: OSError) -> SourceError:
    """Return the error for something that the system does not let us read."""
    return SourceError(
        f"{as_text(str(path))} cannot be read ({error.strerror}): make it readable for this user, or take it out of "
        "the folder"
    )


def _entries(here: _Folder) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(here.location) as found:
            return sorted(found, key=attrgetter("name"))
    except OSError as error:
        if isinstance(error, PermissionError) and os.path.basename(here.location) in SYSTEM_FOLDERS:
            return []
        raise unreadable(here.location, error) from error


def _kind(entry: os.DirEntry[str], here: _Folder) -> Kind:
    if entry.name.startswith("."):
        return "hidden"
    try:
        if entry.is_dir():
            return "link loop" if entry.is_symlink() and _identity(entry.path) in here.above else "folder"
        if entry.is_file():
            return "file"
        return "dead link" if entry.is_symlink() and not os.path.exists(entry.path) else "special"
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself, or two to each other
            return "link loop"
        raise unreadable(entry.path, error) from error


def _below(here: _Folder, entry: os.DirEntry[str]) -> _Folder:
    num_links = here.num_links + entry.is_symlink()
    if num_links > MAX_LINKS:
        raise SourceError(
            f"{as_text(entry.path)} is reached through {num_links} links from folder to folder, which may never end: "
            "remove links between the folders of the dataset"
        )
    try:
        itself = _identity(entry.path)
    except OSError as error:
        raise unreadable(entry.path, error) from error
    return _Folder(entry.path, f"{here.prefix}{entry.name}/", here.above | {itself}, num_links)


def _identity(path: str | Path) -> Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino
