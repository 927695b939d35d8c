"""How long work shows itself: a bar with the time left on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tasks.stage import Report

PLAIN_SECONDS = 20.0
INDENT = " " * 7
"""The width of the word that says what is done with a stage."""


@contextmanager
def progress(console: Console, name: str) -> Iterator[Report]:
    """Yield what to report to: units done of how many."""
    if not console.is_terminal:
        yield _plain(console, name)
        return
    columns = (TextColumn(INDENT + "{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda unit, done, total: bar.update(task, description=f"{name} ({unit})", completed=done, total=total)


def _plain(console: Console, name: str) -> Report:
    began = last = time.monotonic()
    first = -1

    def report(unit: str, done: int, total: int) -> None:
        nonlocal last, first
        now = time.monotonic()
        # A run that continues begins at what is done already, which tells nothing of its speed.
        first = done - 1 if first < 0 else first
        if now - last >= PLAIN_SECONDS:
            last = now
            left = (now - began) / max(done - first, 1) * (total - done)
            console.print(f"{INDENT}{name}: {done} of {total} {unit}, about {left:.0f} s left")

    return report
