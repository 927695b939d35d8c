"""What a process that works for another one tells it while it does: messages, each a dictionary of plain values.

{"progress": [unit, done, total]}    {"log": [logger, level, text]}
"""

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

PROGRESS_SECONDS = 0.1

Send = Callable[[dict[str, Any]], None]
"""Sends a message to the process that asked."""


class Progress:
    """Sends how far it is, some times a second at most, and the first of each kind of unit."""

    def __init__(self, send: Send) -> None:
        self._send, self._unit, self._last = send, "", 0.0

    def __call__(self, unit: str, done: int, total: int) -> None:
        now = time.monotonic()
        if unit != self._unit or done == total or now - self._last >= PROGRESS_SECONDS:
            self._unit, self._last = unit, now
            self._send({"progress": [unit, done, total]})


class LogMessages(logging.Handler):
    """Has what is logged here logged by the process that asked."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send({"log": [record.name, record.levelno, self.format(record)]})


def log_again(name: str, level: int, text: str) -> None:
    """Log what another process has logged, by the logger of the same name."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        logger.log(level, "%s", text)


AGAIN = "run the same command again; it continues where it was"


def how_it_ended(code: int, setting: str) -> str:
    """Say why a process is gone before its work was done; `code` as subprocess has it, a negative signal, and `setting`
    is the one, with its value, that decides how many there are.
    """
    if code >= 0:
        return f"ended with exit code {code} before it was done: see what its process printed; {AGAIN}"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return (
            f"was killed ({name}): most often by the kernel, for want of memory. Lower {setting}, "
            f"runtime.image_cache_mb or runtime.logits_cache_mb, and {AGAIN}"
        )
    cause = "it was asked to end" if -code == signal.SIGTERM else "a fault in a library"
    return f"was killed ({name}): {cause}; {AGAIN}"
