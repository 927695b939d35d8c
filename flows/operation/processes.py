"""Which process is meant, for those who look later: a number alone is given to another process one day."""

import contextlib
import os
import platform
import signal
from pathlib import Path
from typing import NamedTuple, Self

_OF_THE_MACHINE = 4026531836
"""The namespace of processes that the kernel starts with."""

_LISTENS = "0A"
"""How the kernel writes that a socket waits for others."""


def this_host() -> str:
    """Return the name of this machine as its workers give it. A container that numbers its processes by itself is a
    machine of its own, also where it has the name of its host: others would take its processes for dead.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return platform.node()
    return platform.node() if namespace == _OF_THE_MACHINE else f"{platform.node()}.{namespace}"


class Process(NamedTuple):
    """A process on this machine; `started` is its start in ticks of the kernel's clock, 0 where that is not known."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self:
        return cls(pid, _started(pid))

    @classmethod
    def own(cls) -> Self:
        return cls.of(os.getpid())

    def is_alive(self) -> bool:
        """Whether it is still there, and the same one; a zombie that nobody has waited for is not."""
        return _exists(self.pid) and _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.is_alive():
            os.kill(self.pid, number)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _started(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # After the name in brackets, which may hold blanks: the state, and 19 fields on the start.
    fields = text.rpartition(")")[2].split()
    return -1 if fields[0] in "ZX" else int(fields[19])


def users_listening(port: int) -> set[int] | None:
    """Return the numbers of the users whose processes listen on a port of this machine; None where only the kernel
    knows (not Linux).
    """
    rows = _listening(port)
    return None if rows is None else {int(row[7]) for row in rows}


def processes_listening(port: int) -> set[int]:
    """Return the processes that listen on a port of this machine, as far as this user may see."""
    sockets = {f"socket:[{row[9]}]" for row in _listening(port) or []}
    found = set()
    for path in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with contextlib.suppress(OSError):  # it is gone, or another user's
            if os.readlink(path) in sockets:
                found.add(int(path.parts[2]))
    return found


def _listening(port: int) -> list[list[str]] | None:
    """Return the kernel's rows of sockets that wait for others on a port; None where there are none to be had."""
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    rows = [line.split() for path in tables for line in path.read_text().splitlines()[1:]]
    # The second column is the address as hex digits, the fourth the state, the eighth the user, the tenth the socket.
    found = [row for row in rows if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port]
    return found if tables else None
