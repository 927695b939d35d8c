"""Ending a worker at SIGTERM, SIGINT and SIGHUP, however it was started, with the runs in progress.

By choice they are finished first, while no other is taken up, or handed back: each is a process, which is asked to
end, and is then waiting to be taken up again, by another worker or by the next one here, which continues where it was.
Prefect by itself waits for its own loop (SIGTERM), or forgets the run, which then stays Running for ever. A second
signal hands back what was to be finished; one more ends everything at once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled

from taskdistill.configs.counting import counted

log = logging.getLogger(__name__)

OnStop = Literal["finish", "hand-back"]

RUN_SECONDS = 6.0
"""Time for runs to end by themselves, before they are killed."""
OWN_SECONDS = 8.0
"""Time for the rest, such as telling the server: it may be away. With that of runs within what service managers give,
and near the 10 s of Docker.
"""
LOOK_SECONDS = 0.5
_RUN_ID = b"PREFECT__FLOW_RUN_ID="
HANDED_OVER: dict[int, UUID] = {}
"""Process id -> the run it was given, which its variables show only once it has begun; kept by the worker."""
INTERRUPTED: set[UUID] = set()
"""Runs whose process was ended as the worker itself came to an end; kept by the worker."""


class _Signals:
    """The signals that came. After so many that are obeyed in turn, one more is of someone who will not wait."""

    def __init__(self, obeyed: int) -> None:
        self.came: list[int] = []
        self._obeyed = obeyed
        self._changed = asyncio.Event()

    def take(self, number: int) -> None:
        if len(self.came) >= self._obeyed:
            _kill(runs_of_this_process())
            os._exit(128 + number)
        self.came.append(number)
        self._changed.set()

    async def wait(self, wanted: int) -> None:
        while len(self.came) < wanted:
            self._changed.clear()
            await self._changed.wait()


def until_stopped(work: Coroutine[Any, Any, None], on_stop: OnStop, take_no_more: Callable[[], None]) -> None:
    """Run `work` until it ends or a signal comes; then the exit code is 128 + the signal's number, or 1 where `work`
    failed, whose runs are handed back.

    `take_no_more` is called before runs are finished.
    """
    if exit_code := asyncio.run(_until_stopped(work, on_stop, take_no_more)):
        sys.exit(exit_code)


async def _until_stopped(work: Coroutine[Any, Any, None], on_stop: OnStop, take_no_more: Callable[[], None]) -> int:
    task, signals = asyncio.ensure_future(work), _Signals(2 if on_stop == "finish" else 1)
    # Before any signal: the kernel's at the death of the parent comes when there is another parent already.
    parent = os.getppid()
    for each in _signals():
        asyncio.get_running_loop().add_signal_handler(each, signals.take, each)
    await _first(task, signals.wait(1))
    if not signals.came:
        return await _ended_by_itself(task)
    if on_stop == "finish":
        take_no_more()
        await _first(_all_finished(parent), signals.wait(2))
    await _stop_all(task, 128 + signals.came[0])
    return 128 + signals.came[0]


async def _first(*awaited: Any) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _all_finished(parent: int) -> None:
    """Wait until no run is left, or who started this process is gone, and the server with it."""
    if runs := runs_of_this_process():
        them = counted(len(runs), "run")
        log.info("finishing %s, and taking up no other; a second signal hands back what is left", them)
    quiet = 0
    while quiet < 4 and os.getppid() == parent:  # one that was just taken up may not have its process yet
        quiet = 0 if runs_of_this_process() else quiet + 1
        await asyncio.sleep(LOOK_SECONDS)


async def _ended_by_itself(task: asyncio.Future[None]) -> int:
    """Hand back what `work` has taken along where it failed, and return the exit code."""
    if (error := task.exception()) is None:
        return 0
    log.error("the worker cannot go on: %s", error, exc_info=error)
    await _stop_all(task, 1)
    return 1


async def _stop_all(task: asyncio.Future[None], exit_code: int) -> None:
    """End the runs, then the task, then hand the runs back."""
    runs = runs_of_this_process()
    log.info(
        "stopping%s", f", and handing back {counted(len(runs), 'run')}; another signal stops at once" if runs else ""
    )
    # Whatever hangs below, such as a server that is away, this process ends in the time its service manager gives.
    asyncio.get_running_loop().call_later(RUN_SECONDS + OWN_SECONDS, os._exit, exit_code)
    await _end(runs)
    if task.cancel():
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            log.warning("while it was stopped: %s", error)
    # Runs that were started between the look above and the end of the task.
    await _end(late := runs_of_this_process())
    await _hand_back({*runs.values(), *late.values(), *INTERRUPTED})


def _signals() -> Iterator[signal.Signals]:
    yield signal.SIGTERM
    # A shell that starts a program in the background, and nohup, let it ignore these two: it is not meant.
    yield from (number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN)


def runs_of_this_process() -> dict[int, UUID]:
    """Return process id -> run of each child that is a flow run and still alive; none where there is no /proc."""
    children = {int(child) for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}
    found = {}
    for child in sorted(children):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it may end while it is looked at
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")  # empty once it is a zombie
            if given := [text for text in variables if text.startswith(_RUN_ID)]:
                found[child] = UUID(given[0].removeprefix(_RUN_ID).decode())
            elif child in HANDED_OVER and variables != [b""]:
                found[child] = HANDED_OVER[child]
    return found


async def _end(runs: dict[int, UUID]) -> None:
    """Ask runs to end, wait for them, kill what is left."""
    _signal(runs, signal.SIGTERM)
    for _ in range(round(RUN_SECONDS / 0.1)):
        if not runs.keys() & runs_of_this_process():
            return
        await asyncio.sleep(0.1)
    _kill(runs)


def _kill(runs: dict[int, UUID]) -> None:
    _signal(runs, signal.SIGKILL)


def _signal(runs: dict[int, UUID], number: signal.Signals) -> None:
    for child in runs.keys() & runs_of_this_process():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)


async def _hand_back(runs: set[UUID]) -> None:
    """Let runs wait to be taken up again, but for those that came to an end of their own."""
    message = "Its worker was stopped: it continues where it was as soon as another worker takes it up."
    async with get_client() as client:
        for run in runs:
            try:
                state = (await client.read_flow_run(run)).state
                if state is not None and state.is_cancelling():
                    await client.set_flow_run_state(run, Cancelled(), force=True)
                elif state is None or not state.is_final() or state.is_crashed():
                    await client.set_flow_run_state(run, AwaitingRetry(message=message), force=True)
            except (httpx.HTTPError, ObjectNotFound) as error:
                log.warning("the server could not be told that the run %s was stopped (%s)", run, error)
