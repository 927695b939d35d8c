"""Moving and removing whole folders, so that a name leads to all of one or to nothing, at any moment of death.

What is to be removed is first renamed to a hidden name beside it: gone at once, on the same file system whatever links
lead there, and whoever removes next deletes what a death has left of it.
"""

import contextlib
import errno
import logging
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from taskdistill.storage.files import sync, sync_tree

log = logging.getLogger(__name__)

_GONE = ".gone"


def hide(path: Path) -> Path:
    """Rename a folder, file or link to a hidden name beside it, from where `delete_hidden` deletes it.

    What a link leads to lies outside the store: it stays, and the log says so.
    """
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_GONE}")
    if path.is_symlink():
        log.warning("%s is a link: %s, which it leads to, stays; remove that yourself", path, path.readlink())
    path.rename(hidden)
    return hidden


def make_way(place: Path) -> None:
    """Hide what is in the way of a folder, such as what an interrupted copy left, or a link to nothing."""
    if place.is_symlink() or place.exists():
        hidden = hide(place)
        log.warning(
            "%s was in the way and is no finished artifact: it is %s until 'taskdistill collect --yes' deletes it",
            place, hidden.name,
        )  # fmt: skip


def delete_hidden(folders: Iterable[Path]) -> None:
    """Delete what was hidden directly in these folders. Of a link only the link goes, never what it leads to."""
    for folder in folders:
        hidden = sorted(folder.glob(f".*{_GONE}"))
        if hidden:
            sync(folder)  # the renames first: a name that a power cut brings back must lead to all of its files
        for path in hidden:
            with contextlib.suppress(FileNotFoundError):  # another process deletes it
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def move(source: Path, target: Path) -> None:
    """Give a folder another name, with one rename. Where that leads to another file system it is copied there first.

    The caller sees to it that nobody else moves something to the same name.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        arriving = target.with_name(f".{target.name}.arriving")
        if arriving.exists():  # of an attempt that died
            shutil.rmtree(arriving)
        shutil.copytree(source, arriving)
        sync_tree(arriving)
        arriving.rename(target)
        _delete(source)
