"""Ending `serve` and `worker` at SIGTERM, SIGINT and SIGHUP, however they were started, with the runs in progress.

The runs come first: each is a process, which is asked to end; Prefect sees it end and has the server mark the run
Crashed, from where *Retry* continues it. Prefect by itself waits for its own loop (SIGTERM), or forgets the run, which
then stays Running for ever. A second signal ends everything at once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

log = logging.getLogger(__name__)

RUN_SECONDS = 6.0
"""Time for runs to end by themselves, before they are killed."""
OWN_SECONDS = 8.0
"""Time for the rest, such as telling the server: it may be away. With that of runs within what service managers give,
and near the 10 s of Docker.
"""
_RUN_ID = b"PREFECT__FLOW_RUN_ID="


def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or a signal comes; then the exit code is 128 + the signal's number."""
    if exit_code := asyncio.run(_until_stopped(work)):
        sys.exit(exit_code)


async def _until_stopped(work: Coroutine[Any, Any, None]) -> int:
    task, first = asyncio.ensure_future(work), asyncio.Event()
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        if stopped_by:  # the second signal: whoever sends it does not want to wait for anything
            _kill(runs_of_this_process())
            os._exit(128 + number)
        stopped_by.append(number)
        first.set()

    for each in _signals():
        asyncio.get_running_loop().add_signal_handler(each, stop, each)
    await asyncio.wait([task, asyncio.ensure_future(first.wait())], return_when=asyncio.FIRST_COMPLETED)
    if not stopped_by:
        await task
        return 0
    await _stop_all(task, 128 + stopped_by[0])
    return 128 + stopped_by[0]


async def _stop_all(task: asyncio.Future[None], exit_code: int) -> None:
    """End the runs, then the task, then tell the server what it does not know yet."""
    runs = runs_of_this_process()
    log.info("stopping%s; a second signal stops at once", f", and {len(runs)} runs with it" if runs else "")
    # Whatever hangs below, such as a server that is away, this process ends in the time its service manager gives.
    asyncio.get_running_loop().call_later(RUN_SECONDS + OWN_SECONDS, os._exit, exit_code)
    await _end(runs)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        log.warning("while it was stopped: %s", error)
    # Runs that were started between the look above and the end of the task.
    await _end(late := runs_of_this_process())
    await _mark_crashed({*runs.values(), *late.values()})


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


async def _mark_crashed(runs: set[UUID]) -> None:
    """Have the server say so of runs that could not tell it themselves."""
    message = "What ran it was stopped. Retry: the run continues where it was."
    async with get_client() as client:
        for run in runs:
            try:
                state = (await client.read_flow_run(run)).state
                if state is None or not state.is_final():
                    await client.set_flow_run_state(run, Crashed(message=message), force=True)
            except (httpx.HTTPError, ObjectNotFound) as error:
                log.warning("the server could not be told that the run %s was stopped (%s)", run, error)
