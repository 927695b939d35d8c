"""Locks between processes, also of several hosts: flock on a file, which the kernel frees when its holder dies.

Every file that is locked lies in a folder directly below the store's root.
"""

import fcntl
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.root import explained_locks

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks at several locks, of which the kernel can wait for none in particular."""


@contextmanager
def locked(path: Path, busy: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of this name. While another process has it: wait and say what is `busy`, or StillNeededError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        if not take(file):
            if not wait:
                raise StillNeededError(f"{busy}: wait for it")
            # Asked for without waiting first, so that a person is told what the wait is for.
            log.info("%s; waiting for it", busy)
            _flock(file, fcntl.LOCK_EX)
        # The file stays when the lock is freed: who removed it could remove one that another has just locked, and a
        # third would lock a new file of the same name.
        yield


@contextmanager
def one_locked(paths: Sequence[Path], busy: str) -> Iterator[Path]:
    """Hold one of these locks, the first that is free; while others have all of them: wait, and say what is `busy`."""
    with ExitStack() as opened:
        files = {}
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            files[path] = opened.enter_context(_opened(path))
        is_said = False
        while (held := next((path for path, file in files.items() if take(file)), None)) is None:
            if not is_said:
                log.info("%s; waiting for it", busy)
            is_said = True
            time.sleep(LOOK_SECONDS)
        yield held


def _opened(path: Path) -> IO[str]:
    """Open a lock's file, making it where it is missing; one that another user made need only be readable."""
    try:
        return path.open("a")
    except PermissionError:
        return path.open()


def take(file: IO[str]) -> bool:
    """Take the lock of an open file until it is closed; False where another process has it, StoreError where the file
    system knows no locks.
    """
    return _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_free(file: IO[str]) -> bool:
    """Whether nobody has the lock of this file, which is open for reading, so that it may be another user's."""
    # A shared lock is enough to ask with, needs no right to write, and two who ask at once do not disturb each other.
    return _flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_any_locked(paths: Iterable[Path]) -> bool:
    """Whether some process has one of these locks."""
    for path in paths:
        with path.open() as file:
            if not is_free(file):
                return True
    return False


def _flock(file: IO[str], operation: int) -> bool:
    with explained_locks(Path(file.name).parents[1]):
        try:
            fcntl.flock(file, operation)
        except BlockingIOError:
            return False
    return True
