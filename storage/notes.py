"""Digests of the files of a draft, noted by those who write them, so that a commit does not read them again.

A digest is taken of the bytes on their way to the file, and noted when the file is on the disk: what a note says then
holds after a power cut, and a note that the power cut tore is no JSON and says nothing. It is believed while size,
times and inode of the file are what they were when it was written; any other file is read. Each process has notes of
its own, as two that append to one file may tear each other's lines on a network file system.
"""

import hashlib
import io
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.files import atomic, state_of, sync_all
from taskdistill.storage.manifest import FileRecord

NOTES = ".digests"
"""The folder of a draft that holds the notes of each process that wrote in it."""
SYNC_SECONDS = 5.0
"""How much work a power cut may take from a stage that writes its files one by one."""
_PROCESS = secrets.token_hex(8)


class Written(NamedTuple):
    """A file and what was written into it."""

    path: Path
    sha256: str
    """Empty where it was not taken."""
    state: str
    """Of the file when it had its name (storage.files.state_of)."""


def written(path: Path, sha256: str) -> Written:
    """Return what there is to note of a file that has just got its name."""
    return Written(path, sha256, state_of(path.stat()))


def note(draft: Path, files: Iterable[Written]) -> None:
    """Note the digests of files that are on the disk; nothing outside of drafts, where nobody would read it."""
    lines = [[file.path.relative_to(draft).as_posix(), file.state, file.sha256] for file in files if file.sha256]
    if not lines or not (draft / DRAFT).is_file():
        return
    (draft / NOTES).mkdir(exist_ok=True)
    # Nobody waits for the disk here: a note that is lost costs no more than reading its file.
    with (draft / NOTES / f"{os.getpid()}-{_PROCESS}.jsonl").open("a", encoding="utf-8") as notes:
        notes.write("".join(json.dumps(line) + "\n" for line in lines))


def noted(draft: Path) -> dict[str, FileRecord]:
    """Return what is known without reading them of files that are as they were written, by their paths in the draft."""
    records = {}
    for name, state, sha256 in _lines(draft):
        try:
            status = (draft / name).stat()
        except FileNotFoundError:
            continue
        if state_of(status) == state:
            records[name] = FileRecord(sha256=sha256, num_bytes=status.st_size)
    return records


def _lines(draft: Path) -> Iterator[list[str]]:
    for notes in (draft / NOTES).glob("*.jsonl"):
        for line in notes.read_bytes().splitlines():
            try:
                found = json.loads(line)
            except ValueError:  # torn
                continue
            if isinstance(found, list) and [type(field) for field in found] == [str, str, str]:
                yield found


@contextmanager
def digested(draft: Path, path: Path) -> Iterator[IO[bytes]]:
    """Yield what writes a file of a draft, from its beginning to its end; all of it or nothing, as `atomic` does, and
    its digest is noted.
    """
    with atomic(path) as partial, partial.open("wb") as raw:
        file = _DigestingFile(raw)
        yield file  # type: ignore[misc]  # what Parquet asks of a file
    note(draft, [written(path, file.sha256.hexdigest())])


class _DigestingFile(io.RawIOBase):
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self._file.write(data)


class BatchedSync:
    """Puts files of a draft on the disk some seconds after they were written, many at a time, and notes their digests.

    Until then a power cut may leave them empty or torn: whoever continues must look into them, not at their names.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Written] = []
        self._last = time.monotonic()

    def add(self, *files: Written) -> None:
        self._files += files
        # Waiting for the disk costs about as much for many files as for one, and far more than writing a small one.
        if time.monotonic() - self._last >= SYNC_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Wait until all files that were added are on the disk."""
        paths = [file.path for file in self._files]
        sync_all(paths)
        sync_all({above for path in paths for above in path.parents if above.is_relative_to(self._folder)})
        note(self._folder, self._files)
        self._files.clear()
        self._last = time.monotonic()
