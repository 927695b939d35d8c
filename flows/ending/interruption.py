"""The signals that ask a program to end: Ctrl-C, SIGTERM of a service manager, SIGHUP of a terminal that was closed.

The first one becomes a KeyboardInterrupt, as Ctrl-C is in Python. A library may swallow that, so it is raised again and
again until somebody says that it has arrived. In the midst of an import it would be worse than swallowed: compiled
modules (torch) end in an abort, or half there; so there the process ends itself, which the store allows at any moment.
A second signal ends it at once. This module imports nothing else, to be there before anything that takes time.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SENTENCE = "stopped; the same command continues where it was"
AGAIN_SECONDS = 2.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_stopped_by: list[int] = []
_said = [SENTENCE]


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread at the first signal that asks for an end.

    Signals that whoever started the program lets it ignore (a shell in the background, nohup) stay ignored, but not
    SIGTERM.
    """
    _stopped_by.clear()
    say_when_stopped()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number in _SIGNALS if number == signal.SIGTERM or before[number] is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        arrived()
        if not _stopped_by:  # else a second signal is still to end at once
            for number in heeded:
                signal.signal(number, before[number])


def say_when_stopped(sentence: str = SENTENCE) -> None:
    """Have a program that is stopped from now on end with this sentence: not all work continues where it was."""
    _said[:] = [sentence]


def sentence() -> str:
    """Return what a program that is stopped says at its end."""
    return _said[0]


def exit_code() -> int:
    """Return the exit code of a process that a signal has asked to end, as shells count; 0 where none has."""
    return 128 + _stopped_by[0] if _stopped_by else 0


def arrived() -> None:
    """Say that the interruption has come through, so that it is not repeated."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _stop(number: int, frame: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor, and may not come to show it again
    if _is_importing(frame):
        os.write(2, f"{sentence()}\n".encode())
        os._exit(128 + number)
    _stopped_by.append(number)
    for other in _SIGNALS:
        if signal.getsignal(other) is _stop:
            signal.signal(other, _end_at_once if os.getpid() == 1 else signal.SIG_DFL)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Do by hand what the kernel does for any process but the first of a container."""
    os._exit(128 + number)
