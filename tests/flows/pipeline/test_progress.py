"""How long work says it will take: nothing before that is known, and by the speed of this run alone."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from flows.pipeline import progress
from flows.pipeline.progress import Pace, words


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_nothing_is_said_before_two_units_and_two_seconds(clock: Callable[[float], None]) -> None:
    pace = Pace()
    assert pace.seconds_left("steps", 1, 100) is None
    clock(30)
    assert pace.seconds_left("steps", 2, 100) is None
    clock(60)
    assert pace.seconds_left("steps", 3, 100) == pytest.approx(97 * 30)
    pace = Pace()
    clock(60.1)
    assert [pace.seconds_left("steps", done, 100) for done in (10, 20, 30)] == [None, None, None]


def test_what_an_earlier_run_has_done_says_nothing_of_the_speed(clock: Callable[[float], None]) -> None:
    pace = Pace()
    pace.seconds_left("views", 900, 1000)
    clock(10)
    assert pace.seconds_left("views", 910, 1000) == pytest.approx(90)


def test_each_kind_of_unit_is_counted_from_its_own_beginning(clock: Callable[[float], None]) -> None:
    pace = Pace()
    pace.seconds_left("images", 0, 100)
    clock(10)
    pace.seconds_left("images", 100, 100)
    assert pace.seconds_left("views", 1, 50) is None
    clock(20)
    assert pace.seconds_left("views", 11, 50) == pytest.approx(39)


def test_work_that_begins_again_is_counted_from_there(clock: Callable[[float], None]) -> None:
    pace = Pace()
    pace.seconds_left("steps", 50, 100)
    clock(10)
    assert pace.seconds_left("steps", 10, 100) is None
    clock(20)
    assert pace.seconds_left("steps", 20, 100) == pytest.approx(80)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.4, "about 0 s left"),
        (89, "about 89 s left"),
        (600, "about 10 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_the_time_left_is_said_as_people_would(seconds: float | None, said: str) -> None:
    assert words(seconds) == said


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
