"""How long work shows itself: a bar with the time left on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tasks.stage import Report

PLAIN_SECONDS = 20.0


@contextmanager
def progress(console: Console, name: str) -> Iterator[Report]:
    """Yield what to report to: units done of how many."""
    if not console.is_terminal:
        yield _plain(console, name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda unit, done, total: bar.update(task, description=f"{name} ({unit})", completed=done, total=total)


def _plain(console: Console, name: str) -> Report:
    began = last = time.monotonic()
    first, counted = 0, ""

    def report(unit: str, done: int, total: int) -> None:
        nonlocal began, last, first, counted
        now = time.monotonic()
        if unit != counted:
            # What was done before says nothing of the speed: an earlier run's part of it, or another kind of work.
            began, first, counted = now, done - 1, unit
        if now - last >= PLAIN_SECONDS:
            last = now
            left = (now - began) / max(done - first, 1) * (total - done)
            console.print(f"{name}: {done} of {total} {unit}, about {left:.0f} s left")

    return report
