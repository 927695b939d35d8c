"""A worker process seen from outside: started anew where it ended, and what it held when it did.

A pool of the standard library says that its process ended, and not with what. So the process notes, in memory that both
see, which call it is at: who had to wait while another's images ended it is not blamed for them.
"""

import itertools
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, MutableSequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Literal, NamedTuple

from taskdistill.configs.errors import UserError
from taskdistill.tasks.data.cutting_process import STARTING

log = logging.getLogger(__name__)

Names = Callable[[], str]
"""Says which images a call is about. It must not hold who asks: it is kept until the call is answered."""

TRIES = 3
"""Processes that may end with the same images, or while they start."""
MAX_ENDS = 30
"""Processes that may end before the same images are cut, whatever they end with."""


class WorkerEndedError(UserError, RuntimeError):
    """A worker process ends each time that it has the same images to cut, or cannot start; the message says which."""


class _Life:
    """A process from its start to its end."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool
        self.ended_at: int | None = None
        """The call that it was at, once it has ended and another has begun."""
        self._names: dict[int, Names] = {}

    def note(self, number: int, names: Names, future: Future[Any]) -> None:
        """Remember which images a call is about, until it is answered."""
        self._names[number] = names
        future.add_done_callback(partial(self._forget, number))

    def held(self, number: int) -> str:
        """Return the images that the process had, by the call that it ended at."""
        if names := self._names.get(number):
            return f" with these images to cut: {names()}"
        if number == STARTING:
            return " while it started"
        asked = next(iter(dict(self._names).values()), None)
        return f" before it began with these images to cut: {asked()}" if asked else " while it waited"

    def _forget(self, number: int, future: Future[Any]) -> None:
        if future.cancelled() or not isinstance(future.exception(), BrokenProcessPool):
            self._names.pop(number, None)


class Asked(NamedTuple):
    """A call that a process was asked for, by its number."""

    number: int
    life: _Life
    future: Future[Any]


class WorkerProcess:
    """A process, started when there is something to do, and anew where it ended. For any number of threads."""

    def __init__(self, start: Callable[[], ProcessPoolExecutor], at_work: MutableSequence[int], place: int) -> None:
        """`start` makes a pool of one process, which notes in `at_work[place]` the call that it is at."""
        self._start, self._at_work, self._place = start, at_work, place
        self._numbers = itertools.count(1)
        self._changing = threading.Lock()
        self._life = self._begun()
        _living.add(self)

    def submit(self, names: Names, call: Callable[..., Any], *arguments: Any) -> Asked:
        """Ask for call(number, *arguments) about these images; it is done when what was asked before is done."""
        with self._changing:
            number = next(self._numbers)
            for _ in range(2):
                life, future = self._life, self._submitted(call, number, *arguments)
                if not (future.done() and isinstance(future.exception(), BrokenProcessPool)):
                    break
                # Ended since it was asked last, or never started: its pool may hold calls that must not be made any
                # more, as what they write to is lent to others.
                life.ended_at = self._at_work[self._place]
                log.warning(
                    "a worker process was killed, or ended by itself,%s. Another one is started",
                    life.held(life.ended_at),
                )
                self._life = self._begun()
            life.note(number, names, future)
            return Asked(number, life, future)

    def ended_at(self, asked: Asked) -> int:
        """Return the number of the call that the process was at which ended before it had answered; IDLE and STARTING
        where it was at none.
        """
        with self._changing:
            return self._at_work[self._place] if asked.life.ended_at is None else asked.life.ended_at

    def end(self, *, wait: bool = False) -> None:
        self._life.pool.shutdown(wait=wait, cancel_futures=True)

    def _submitted(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Ask the process that there is; where that is not possible, the answer is that it has ended."""
        try:
            return self._life.pool.submit(call, *arguments)
        except BrokenProcessPool as error:
            ended = error
        except (ConnectionError, EOFError) as error:  # killed while it was being started
            ended = BrokenProcessPool(str(error))
        future = Future[Any]()
        future.set_exception(ended)
        return future

    def _begun(self) -> _Life:
        self._at_work[self._place] = STARTING
        return _Life(self._start())


_living = weakref.WeakSet[WorkerProcess]()


def end_all() -> None:
    """End the worker processes of this one and wait for them: for one that multiprocessing has started.

    By itself that would wait at its end for the workers to end, and these for work: pools are only then told.
    """
    for process in list(_living):
        process.end(wait=True)


class Task:
    """Something that a process was asked for, and the next one again where it ends meanwhile."""

    def __init__(self, process: WorkerProcess, names: Names, call: Callable[..., Any], *arguments: Any) -> None:
        """Ask for call(number, *arguments); `names` says which images it is about."""
        self._process, self._names, self._call, self._arguments = process, names, call, arguments
        self._asked = self._submitted()

    @property
    def future(self) -> Future[Any]:
        return self._asked.future

    def result(self) -> Any:
        """Wait for the answer.

        Raises WorkerEndedError where TRIES processes ended with it, or while they started, and what the call raises.
        """
        ends = Counter[Literal["with", "before", "at start"]]()
        for _ in range(MAX_ENDS):
            try:
                return self.future.result()
            except BrokenProcessPool:
                when = self._when_it_ended()
            ends[when] += 1
            if ends[when] == TRIES and when != "before":  # with another's images, or idle: that says nothing of these
                raise _could_not_start() if when == "at start" else _ended_with(self._names())
            self._asked = self._submitted()
        raise _ended_all_the_time(self._names())

    def _when_it_ended(self) -> Literal["with", "before", "at start"]:
        at = self._process.ended_at(self._asked)
        return "at start" if at == STARTING else "with" if at == self._asked.number else "before"

    def _submitted(self) -> Asked:
        return self._process.submit(self._names, self._call, *self._arguments)


def _ended_with(images: str) -> WorkerEndedError:
    return WorkerEndedError(
        f"{TRIES} worker processes, one after the other, ended with these images to cut: {images}. "
        "Where the system killed them there was too little memory: set fewer runtime.workers, or a smaller "
        "runtime.image_cache_mb. Else one of the images makes the decoder crash: set runtime.loading=threads to see"
    )


def _ended_all_the_time(images: str) -> WorkerEndedError:
    return WorkerEndedError(
        f"{MAX_ENDS} worker processes, one after the other, ended before these images were cut: {images}. Something "
        "kills them: the system, for want of memory (see dmesg), or a person. Set fewer runtime.workers, or "
        "runtime.loading=threads, which needs no processes"
    )


def _could_not_start() -> WorkerEndedError:
    return WorkerEndedError(
        f"{TRIES} worker processes, one after the other, ended while they started: what they said of it stands above. "
        "Where they said nothing the system killed them, as there was too little memory: set fewer runtime.workers, or "
        "runtime.loading=threads, which needs no processes"
    )
