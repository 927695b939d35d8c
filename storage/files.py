"""Small file operations that hold at any moment of death, a power cut included: a name either has all of its bytes or
does not exist.

What is written is first put on the disk, then given its name, then the name is put on the disk: a rename alone may
reach the disk before the bytes do, and a power cut then leaves an empty file under the final name.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
_SYNCS_AT_ONCE = 16
"""A file system puts what is asked for at the same time on the disk together."""
_CANNOT_SYNC_FOLDERS = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
"""What file systems that cannot sync a folder answer, some network ones among them; there is no other way to ask."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield where to write what `path` shall hold; on success it is on the disk under its name, on failure removed.

    It is written in a folder of its own beside `path`, for libraries put temporary files of theirs beside their file.
    """
    with _replacing(path) as partial:
        yield partial
        sync(partial)  # the bytes before the name, or a power cut leaves a name with nothing under it
    sync(path.parent)  # the name itself: without it, what a caller builds on may be gone after a power cut


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    # Beside its place, as a rename is one step on one file system only; random, as two processes may write at once.
    folder = path.with_name(f"{path.name}.{secrets.token_hex(8)}{PARTIAL}")
    folder.mkdir()
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder)


def write_json(path: Path, value: Any) -> None:
    """Write a value, all of it or nothing; ValueError for NaN and infinities, which JSON does not have."""
    with atomic(path) as partial:
        partial.write_text(_as_json(value), encoding="utf-8")


def write_passing_json(path: Path, value: Any) -> None:
    """As write_json, without waiting for the disk: for what is written every second and may be lost in a power cut."""
    with _replacing(path) as partial:
        partial.write_text(_as_json(value), encoding="utf-8")


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file; FileNotFoundError, JSONDecodeError or UnicodeDecodeError where it is missing or torn."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_json_if_whole(path: Path) -> Any | None:
    """Return what the file holds, or None where it is missing, or empty or torn as power cuts leave files."""
    try:
        return read_json(path)
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def sync(path: Path) -> None:
    """Wait until the file's bytes, or the folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """Wait until all of these files or folders are on the disk."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE, "sync") as pool:
        for _ in pool.map(sync, paths):
            pass


def sync_tree(folder: Path) -> None:
    """Wait until everything below a folder is on the disk: bytes first, then names, its own excepted."""
    sync_all(all_files(folder))
    sync_all([folder, *(path for path in folder.rglob("*") if path.is_dir())])


def open_as_others_are(path: Path) -> None:
    """Give a safetensors file, or all of them below a folder, the permissions that any new file has there, whatever
    umask and folder make of them: the library writes files that nobody but their owner can read.
    """
    folder = path if path.is_dir() else path.parent
    # Made as any file is, to see what the system makes of it: a umask is only told to who changes it.
    like = folder / f"{secrets.token_hex(8)}{PARTIAL}"
    like.touch()
    mode = stat.S_IMODE(like.stat().st_mode)
    like.unlink()
    for file in path.rglob("*.safetensors") if path.is_dir() else [path]:
        file.chmod(mode)


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, with their names on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)  # another process may have just made it
        sync(path.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(status: os.stat_result) -> str:
    """Return what changes whenever a file does: size, time of modification, inode and time of change; as text, for any
    number that a file system may give.
    """
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {status.st_ctime_ns}"


def remove_partials(folder: Path) -> None:
    """Delete what a killed writer left half-written, zarr's own temporaries included."""
    for leftover in list(folder.rglob(f"*{PARTIAL}")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def all_files(folder: Path) -> list[Path]:
    """Every file below `folder`, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder, which others may be deleting; 0 where there is none."""
    found = 0
    for path in all_files(folder):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


def bytes_in_words(count: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
