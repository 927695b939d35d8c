"""Processes that are kept running: one that ends unasked is started again, and that is said.

One that ends again and again is not: something is wrong that a restart does not mend, and its log says what. The
others go on, where they can do without it.
"""

import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from taskdistill.flows.deployed.server import ServerError
from taskdistill.flows.operation.prefect_environment import inherited
from taskdistill.flows.operation.processes import Process
from taskdistill.flows.operation.state import StateFolder

log = logging.getLogger(__name__)

MAX_RESTARTS = 5
WITHIN_SECONDS = 600.0
LOOK_SECONDS = 0.2
_LAST_LINES = 8


class Program(NamedTuple):
    """What is to run: a module with arguments, and the variables it gets beside those of this process."""

    name: str
    arguments: Sequence[str]
    variables: Mapping[str, str]
    is_needed: bool = True
    """Whether the others are of no use without it."""
    umask: int = -1
    """Which rights its files do not get; -1: as this process."""


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    log: Path
    restarts: deque[float] = field(default_factory=deque)
    """When it was started again, in seconds of the monotonic clock."""
    began: float = field(default_factory=time.monotonic)


class Supervisor:
    """Starts programs and watches over them; in the end they are stopped in the order they are named in."""

    def __init__(self, folder: StateFolder, changed: Callable[[dict[str, Process]], None]) -> None:
        """`changed` is told of the processes whenever there are others."""
        self._folder, self._changed = folder, changed
        self._children: dict[str, _Child] = {}

    def start(self, program: Program) -> None:
        """Start a program, which is watched over from now on."""
        path = self._folder.fresh_log(program.name)
        self._children[program.name] = _Child(program, _started(program, path), path)
        self._tell()

    def watch(self, names: Sequence[str]) -> None:
        """Start again what has ended of these; one that did so too often is given up, with a ServerError where it is
        needed. To be called all the time.
        """
        for child in [self._children[name] for name in names]:
            if (code := child.process.poll()) is not None:
                self._start_again(child, code)

    def _start_again(self, child: _Child, code: int) -> None:
        now, name = time.monotonic(), child.program.name
        lived = now - child.began
        while child.restarts and now - child.restarts[0] > WITHIN_SECONDS:
            child.restarts.popleft()
        if len(child.restarts) >= MAX_RESTARTS:
            self._give_up(child, code)
            return
        child.restarts.append(now)
        log.warning(
            "the %s ended %s after %.0f s; it is started again (%d of %d times in %.0f minutes). Its log: %s",
            name, _how(code), lived, len(child.restarts), MAX_RESTARTS, WITHIN_SECONDS / 60, child.log,
        )  # fmt: skip
        child.process, child.began = _started(child.program, child.log), now
        self._tell()

    def _give_up(self, child: _Child, code: int) -> None:
        name = child.program.name
        message = (
            f"the {name} ended {MAX_RESTARTS + 1} times within {WITHIN_SECONDS / 60:.0f} minutes, the last time "
            f"{_how(code)}, and is not started again. The end of its log, {child.log}:\n{self.last_lines(name)}"
        )
        if child.program.is_needed:
            raise ServerError(message)
        log.error("%s\nThe others go on without it; 'taskdistill down' and 'taskdistill up' start it again", message)
        del self._children[name]
        self._tell()

    def is_alive(self, name: str) -> bool:
        return self._children[name].process.poll() is None

    def last_lines(self, name: str) -> str:
        """Return the end of what a program has said."""
        lines = self._folder.log(name).read_text(errors="replace").strip().splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])

    def signal(self, number: Signals, names: Sequence[str]) -> None:
        """Send a signal to those of these programs that run."""
        for name in names:
            if name in self._children and self.is_alive(name):
                self._children[name].process.send_signal(number)

    def names(self) -> list[str]:
        return list(self._children)

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    def are_gone(self, names: Sequence[str]) -> bool:
        """Whether none of them runs."""
        return not any(self.is_alive(name) for name in names if name in self._children)

    def kill(self) -> None:
        """End at once whatever is left."""
        self.signal(Signals.SIGKILL, self.names())
        for child in self._children.values():
            child.process.wait()

    def _tell(self) -> None:
        self._changed({name: Process.of(child.process.pid) for name, child in self._children.items()})


def _started(program: Program, path: Path) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for who watches, who then ends the others in the right order.
    with path.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "taskdistill.flows.operation.child", *program.arguments],
            env=inherited(program.variables), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, umask=program.umask,
        )  # fmt: skip


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {Signals(-code).name}"
