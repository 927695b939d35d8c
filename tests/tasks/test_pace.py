"""How long work says it will take: nothing before that is known, and by the speed of this run alone."""

from collections.abc import Callable

import pytest

from taskdistill.tasks import pace as module
from taskdistill.tasks.pace import Pace, PaceNotes, words


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
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


def test_what_was_done_between_the_first_report_of_a_unit_and_the_last_is_noted(clock: Callable[[float], None]) -> None:
    notes = PaceNotes()
    for seconds, unit, done in ((5, "masks", 10), (9, "masks", 30), (20, "images", 1), (26, "images", 4)):
        clock(seconds)
        notes.add(unit, done)
    assert notes.as_json() == {"masks": {"units": 20, "seconds": 4.0}, "images": {"units": 3, "seconds": 6.0}}


def test_of_what_was_reported_once_the_time_since_the_report_before_it_counts(clock: Callable[[float], None]) -> None:
    clock(2)
    notes = PaceNotes()
    for seconds, unit, done in ((5, "images", 40), (9, "blends", 8)):
        clock(seconds)
        notes.add(unit, done)
    assert notes.as_json() == {"images": {"units": 40, "seconds": 3.0}, "blends": {"units": 8, "seconds": 4.0}}
