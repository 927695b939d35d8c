"""How long work shows itself: the time left once it is known, on a terminal and elsewhere."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from taskdistill.flows.pipeline import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_resumed_stage_shows_no_time_until_it_has_worked(clock: Callable[[float], None], is_terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=200)
    with progress.progress(console, "extract") as on_progress:
        clock(25)
        on_progress("views", 9000, 10000)
        first = file.getvalue()
        clock(50)
        on_progress("views", 9500, 10000)
    assert "left" not in first
    assert "about 25 s left" in file.getvalue()
