"""How long work shows itself: a bar with the time left on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from taskdistill.tasks.pace import Pace, words
from taskdistill.tasks.stage import OnProgress

Bar = Callable[[str], AbstractContextManager[OnProgress]]

PLAIN_SECONDS = 20.0


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
