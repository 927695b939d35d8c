"""Progress in the UI: the work does not wait for the server that is told of it, however slow it is, or long away."""

import threading
import time
from contextvars import ContextVar

import httpx
import pytest

from taskdistill.tasks import prefect_task
from taskdistill.tasks.prefect_task import Reports

RUN: ContextVar[str] = ContextVar("RUN", default="")


class Told:
    """Keeps what it is told, and lets who tells it wait until it is `quick`; away for as many times as are said."""

    def __init__(self, away: int = 0) -> None:
        self.quick, self.shares, self.runs = threading.Event(), list[float](), set[str]()
        self._away = away

    def send(self, share: float, text: str) -> None:
        self.quick.wait(30)
        self._away -= 1
        if self._away >= 0:
            raise httpx.ConnectError("away")
        self.shares.append(share)
        self.runs.add(RUN.get())


@pytest.fixture(autouse=True)
def without_a_first_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_task, "PROGRESS_SECONDS", 0.0)


def test_work_goes_on_while_a_report_is_on_its_way_and_what_it_says_meanwhile_is_left_out() -> None:
    told = Told()
    reports = Reports(told.send)
    token = RUN.set("a run")
    began = time.monotonic()
    for share in (1.0, 2.0, 3.0):
        reports.show(share, "")
    assert time.monotonic() - began < 5
    told.quick.set()
    reports.end("done")
    RUN.reset(token)
    assert told.shares == [1.0, 100.0]
    assert told.runs == {"a run"}


def test_the_end_of_the_work_waits_for_a_report_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_task, "LAST_SECONDS", 0.1)
    told = Told()
    reports = Reports(told.send)
    reports.show(1.0, "")
    began = time.monotonic()
    reports.end("done")
    assert time.monotonic() - began < 5
    told.quick.set()


def test_after_a_report_that_took_long_the_next_is_not_long_in_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_task, "PAUSE_SECONDS", 0.2)  # half a second would ask for a pause of ten
    told = Told(away=1)
    reports = Reports(told.send)
    reports.show(1.0, "")
    time.sleep(0.5)
    told.quick.set()
    deadline = time.monotonic() + 5
    while not told.shares and time.monotonic() < deadline:
        reports.show(2.0, "")
        time.sleep(0.02)
    assert told.shares == [2.0]


def test_work_that_showed_nothing_does_not_say_that_it_is_done() -> None:
    told = Told()
    told.quick.set()
    Reports(told.send).end("done")
    assert told.shares == []
