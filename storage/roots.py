"""What running runs need: each holds a file that names all artifacts of its plan, those still to be made among them.

    roots/<host>-<process>-<random>.json   flock held as long as the run lives: the kernel frees it at any death

`collect` and `discard` leave these artifacts alone. Whoever names what it needs and whoever removes artifacts take
turns, by the lock `locks/removal`: what a run has named is not removed, and what was removed before is built again.
"""

import json
import os
import platform
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from taskdistill.storage.locks import is_free, locked, take
from taskdistill.storage.manifest import ArtifactRef


class Run(NamedTuple):
    """A run that is going on, and the artifacts it makes or reads."""

    who: str
    refs: frozenset[ArtifactRef]


class Roots:
    """The runs that are going on in one store."""

    def __init__(self, store: Path) -> None:
        self._folder = store / "roots"
        self._removal = store / "locks" / "removal"

    @contextmanager
    def removing(self) -> Iterator[list[Run]]:
        """Keep new runs, new labels and other removers waiting; yields the runs that are going on."""
        with locked(self._removal, "another process removes artifacts from this store"):
            yield list(self._running())

    @contextmanager
    def held(self, refs: Iterable[ArtifactRef]) -> Iterator[None]:
        """Keep these artifacts from being removed by others, as long as the block and this process last."""
        host, process = platform.node(), os.getpid()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{host}-{process}-{secrets.token_hex(8)}.json"
        # Under the lock of removal: a remover sees the file locked and with all of its text, or not at all.
        with locked(self._removal, "another process removes artifacts from this store"):
            file = path.open("x")
            take(file)
            began = datetime.now(UTC).isoformat(timespec="seconds")
            who = f"process {process} on {host}, since {began}"
            json.dump({"who": who, "references": sorted(map(str, refs))}, file)
            file.flush()
        with file:  # closing it, or dying, frees its lock, by which others know that the run has ended
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def _running(self) -> Iterator[Run]:
        """Read the files of living runs and remove those of dead ones. The caller keeps new runs waiting."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                file = path.open()
            except FileNotFoundError:  # this run has just ended
                continue
            with file:
                if is_free(file):  # its run died; a new one never takes an old file, as names are random
                    path.unlink(missing_ok=True)
                else:
                    held = json.load(file)
                    yield Run(held["who"], frozenset(map(ArtifactRef.parse, held["references"])))
