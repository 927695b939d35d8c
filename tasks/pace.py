"""How long work still takes, by what this run has done since it first reported.

What an earlier run had done says nothing of the speed, and neither does another kind of unit.
"""

import time

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


class PaceNotes:
    """What an attempt got done of each unit between its first and its last report of it, and how long that took.

    What comes before the first report, such as the loading of weights, takes as long however much there is to do. Of a
    unit that is reported once, all at the end, the time since the report before it counts, or since the beginning.
    """

    def __init__(self) -> None:
        self._before = time.monotonic()
        self._first: dict[str, tuple[int, float, float]] = {}
        self._last: dict[str, tuple[int, float]] = {}

    def add(self, unit: str, done: int) -> None:
        now = time.monotonic()
        self._first.setdefault(unit, (done, now, self._before))
        self._last[unit] = done, now
        self._before = now

    def as_json(self) -> dict[str, dict[str, float]]:
        """Return, by unit, {"units": how many, "seconds": in how many}; of an attempt that began with nothing done."""
        notes = {}
        for unit, (first, began, before) in self._first.items():
            last, ended = self._last[unit]
            units, seconds = (last - first, ended - began) if last > first else (last, ended - before)
            if units > 0:
                notes[unit] = {"units": units, "seconds": round(seconds, 2)}
        return notes


def words(seconds: float | None) -> str:
    """Say how long it will take, in the unit that people would use; nothing where it is not known."""
    return "" if seconds is None else f"about {taken(seconds)} left"


def taken(seconds: float) -> str:
    """Say how long something takes, in the unit that people would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
