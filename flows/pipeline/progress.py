"""How long work shows itself: a bar with the time left on a terminal, a line now and then elsewhere.

The time left follows from what this run has done since it first reported. What an earlier run had done says nothing of
the speed, and neither does another kind of unit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasks.stage import OnProgress

Bar = Callable[[str], AbstractContextManager[OnProgress]]

PLAIN_SECONDS = 20.0
MIN_SECONDS, MIN_UNITS = 2.0, 2
"""What must have been seen of the work before a rate is believed."""


class Pace:
    """How fast the units of one kind get done."""

    def __init__(self) -> None:
        self._unit, self._first, self._began = "", 0, 0.0

    def seconds_left(self, unit: str, done: int, total: int) -> float | None:
        """Take note of how far it is; returns the time left, or None where it cannot be said yet.

        The first number of a unit is where counting begins: the work before it may have been done by an earlier run.
        """
        now = time.monotonic()
        if unit != self._unit or done < self._first:
            self._unit, self._first, self._began = unit, done, now
        seconds, units = now - self._began, done - self._first
        if seconds < MIN_SECONDS or units < MIN_UNITS:
            return None
        return seconds / units * (total - done)


@contextmanager
def progress(console: Console, name: str) -> Iterator[OnProgress]:
    """Show one piece of work; yields what to report to: units done of how many."""
    with bars(console) as bar, bar(name) as on_progress:
        yield on_progress


@contextmanager
def bars(console: Console) -> Iterator[Bar]:
    """Yield what shows a piece of work by its name, from any thread: several at once have a bar each."""
    if not console.is_terminal:
        yield lambda name: nullcontext(_plain(console, name))
        return
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console, transient=True) as shown:
        yield lambda name: _bar(shown, name)


@contextmanager
def _bar(shown: Progress, name: str) -> Iterator[OnProgress]:
    pace, task = Pace(), shown.add_task(name, total=None, left="")

    def on_progress(unit: str, done: int, total: int) -> None:
        left = words(pace.seconds_left(unit, done, total))
        shown.update(task, description=f"{name} ({unit})", completed=done, total=total, left=left)

    try:
        yield on_progress
    finally:
        shown.refresh()
        shown.remove_task(task)


def _plain(console: Console, name: str) -> OnProgress:
    pace, last = Pace(), time.monotonic()

    def on_progress(unit: str, done: int, total: int) -> None:
        nonlocal last
        left = words(pace.seconds_left(unit, done, total))
        if time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            console.print(f"{name}: {done} of {total} {unit}{left and f', {left}'}")

    return on_progress


def words(seconds: float | None) -> str:
    """Say how long it will take, in the unit that people would use; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"
