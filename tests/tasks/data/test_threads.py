"""Threads that work ahead: in order, with their errors, and gone when nobody listens."""

import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from taskdistill.tasks.data.threads import prefetch


def made_since(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs_however_long_each_takes(workers: int) -> None:
    def make(job: int) -> int:
        time.sleep(0.01 if job % 3 == 0 else 0)
        return job * job

    assert list(prefetch(make, range(20), workers=workers)) == [job * job for job in range(20)]


def test_an_error_is_raised_in_its_turn_with_the_line_that_raised_it() -> None:
    def make(job: int) -> int:
        if job == 3:
            raise KeyError("third")
        return job

    results = prefetch(make, range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="third") as error:
        next(results)
    assert 'raise KeyError("third")' in "".join(traceback.format_exception(error.value))


def test_no_more_is_made_ahead_than_the_workers_can_hold() -> None:
    started: list[int] = []
    results = prefetch(lambda job: started.append(job) or job, iter(range(1000)), workers=2)
    for taken in range(5):
        next(results)
        time.sleep(0.01)
        assert len(started) <= taken + 1 + 3  # those taken, and workers + 1 ahead
    results.close()


def test_work_stops_when_the_consumer_leaves() -> None:
    started: list[int] = []

    def make(job: int) -> int:
        started.append(job)
        time.sleep(0.05)
        return job

    before = set(threading.enumerate())
    results = prefetch(make, range(10_000), workers=1)
    assert next(results) == 0
    assert made_since(before)
    results.close()
    assert started in ([0], [0, 1])  # the job that was being made, and not the one that waited behind it
    assert not made_since(before)


def test_an_error_in_making_the_jobs_themselves_is_raised() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise OSError("no more jobs")

    with pytest.raises(OSError, match="no more jobs"):
        list(prefetch(lambda job: job, jobs(), workers=2))
