"""Doing something as a user whom permissions bind: root may read everything."""

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

NOBODY = 65534


def as_another_user(folder: Path, work: Callable[[], str]) -> str:
    """Return what `work` returns, or the name and message of its error, when an ordinary user does it who may reach
    `folder`. What it imports must be imported.
    """
    if os.geteuid():
        return _outcome(work)
    _open_the_way(folder)
    with tempfile.TemporaryFile() as answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads; the child uses none
            child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                os.write(answer.fileno(), _outcome(work).encode())
            finally:
                os._exit(0)  # whatever happens: two processes must not go on with the tests
        os.waitpid(child, 0)
        answer.seek(0)
        return answer.read().decode() or pytest.skip("root may not become another user here")


def _outcome(work: Callable[[], str]) -> str:
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _open_the_way(folder: Path) -> None:
    """Let others pass through the folders above, which pytest closes."""
    for above in folder.parents:
        if above.stat().st_uid == os.geteuid() and str(above).startswith(tempfile.gettempdir()):
            above.chmod(above.stat().st_mode | 0o011)
