"""Paths that a user's file or setting gives inside the dataset's folder: they must stay in it, and not be hidden."""

from pathlib import PurePosixPath

from taskdistill.tasks.data.candidates import DatasetError


def inside(path: str, where: str) -> PurePosixPath:
    """Return a path relative to the dataset's folder; DatasetError, beginning with `where`, if it leads out."""
    relative = PurePosixPath(path)
    if "://" in path:
        raise DatasetError(f"{where}: {path!r} is an address: download the files, and name them relative to data.path")
    if any(part.startswith(".") and part != ".." for part in relative.parts):
        raise DatasetError(f"{where}: {path!r} is hidden, and hidden files have no part in a dataset: rename it")
    if relative.is_absolute() or ".." in relative.parts or ("\\" in path[1:3] and path[1:2] == ":"):
        raise DatasetError(f"{where}: {path!r} leads out of the dataset's folder: use paths relative to data.path")
    return relative
