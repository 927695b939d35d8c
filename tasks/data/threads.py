"""Threads that work ahead of the network (`prefetch`) and behind it (`in_background`).

Threads unless worker processes are asked for: decoding and resizing release the interpreter's lock, an error keeps its
traceback, and a killed run leaves no orphans. Where a network takes more images than they give, these same threads
wait for processes that cut (`tasks.data.processes`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")

WRITE_AHEAD = 2
"""Chunks or shards that may wait to be written: more would only take memory, as a disk that lags stays behind."""


def prefetch(make: Callable[[J], R], jobs: Iterable[J], *, workers: int) -> Iterator[R]:
    """Yield make(job) in order, computed by threads up to workers + 1 jobs ahead of the consumer.

    Jobs are taken in the consumer's thread, so that what yields them may keep state. One more than there are threads
    is waiting, or the thread that ends first would idle until the consumer asks again. No further ahead: what is made
    and not yet used takes memory.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="prefetch") as pool:
        pending: deque[Future[R]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(make, job))
                if len(pending) > workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # an error, or a consumer that stopped: the pool would finish them all first
                future.cancel()


@contextmanager
def in_background(write: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Yield `write` as done by a thread, at most WRITE_AHEAD calls ahead of it; its errors are raised in the caller."""
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as thread:
        unwritten: deque[Future[None]] = deque()  # one thread, so they end in the order in which they were given

        def submit(*arguments: Any) -> None:
            while len(unwritten) >= WRITE_AHEAD:
                unwritten.popleft().result()
            unwritten.append(thread.submit(write, *arguments))

        yield submit
        # Only where the block ended without an error: an error of its own goes first, and the pool still waits for what
        # was handed over.
        for pending in unwritten:
            pending.result()
