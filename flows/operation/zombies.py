"""Runs that the server takes for going on, and nobody makes: their process, worker or machine died without a word.

Prefect's automation (flows.operation.pool) sees those that showed life while the server was there. These are the
others, found by whoever looks: runs that died before their first sign of life, or while the server was away.
"""

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed

from taskdistill.flows.deployed.server import POOL, WorkerName, online_workers
from taskdistill.flows.operation.pool import SILENT_SECONDS
from taskdistill.flows.operation.processes import Process

log = logging.getLogger(__name__)

TOLD_SECONDS = 60.0
"""After the end of a run, until the server knows of its steps: they are told by another way."""
LOST_SECONDS = 300.0
"""Since a run is where it is, until it counts as lost whose worker lives and has no process for it: the process has
begun by then, also on a busy machine.
"""
_GOING_ON = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_OURS = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
_PAGE = 200


class Zombie(NamedTuple):
    """A run that nobody makes, and how that is known."""

    run: FlowRun
    because: str


def zombies(client: SyncPrefectClient, host: str, listened_seconds: float = SILENT_SECONDS) -> list[Zombie]:
    """Return the runs of the pool that nobody makes; `host` is the name of this machine.

    The server must have been there for so many seconds, or nobody could show it that he lives: those of other machines
    are not looked at before SILENT_SECONDS of it.
    """
    online = {worker.name for worker in online_workers(client)}
    is_heard = listened_seconds >= SILENT_SECONDS
    reasons = (
        (run, _is_here(run, host) or (_is_silent(client, run, online) if is_heard else ""))
        for run in _going_on(client)
    )  # fmt: skip
    return [Zombie(run, because) for run, because in reasons if because]


def end_zombies(client: SyncPrefectClient, host: str, listened_seconds: float) -> None:
    """Have the server say what became of them, but for those that have moved on while this looked."""
    for run, because in zombies(client, host, listened_seconds):
        with contextlib.suppress(ObjectNotFound):  # somebody deleted it meanwhile
            state = client.read_flow_run(run.id).state
            if state is None or run.state is None or state.id != run.state.id:
                continue
            log.warning("the run %s is over: %s", run.name, because)
            message = f"Nobody makes it any more: {because}."
            # Not by force: what completes at this very moment stays completed.
            if state.is_cancelling():
                client.set_flow_run_state(run.id, Cancelled(message=message))
            else:
                client.set_flow_run_state(run.id, Crashed(message=f"{message} Retry continues it."))


def end_steps(client: SyncPrefectClient) -> None:
    """Have the server say that steps are over whose run is: a process that is killed tells nothing of its own, and a
    server whose database is away keeps nothing of what it is told.
    """
    told = datetime.now(UTC) - timedelta(seconds=TOLD_SECONDS)
    over = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=told),
    )
    for step, run in _steps_of_ours(client, over):
        state: State[Any] = Crashed(message="Its run is over: the process that made it ended without a word.")
        if run.state and run.state.is_completed() and run.run_count == 1:  # which it is when all of its steps are
            state = Completed(message="Its run is completed: the server has missed the word of this step.")
        with contextlib.suppress(ObjectNotFound):  # somebody deleted it meanwhile
            client.set_task_run_state(step.id, state)


def _steps_of_ours(client: SyncPrefectClient, of_runs: FlowRunFilter) -> Iterator[tuple[TaskRun, FlowRun]]:
    """Yield the steps going on of such runs of the pool, each with its run: a server may have other people's as well,
    and it cannot be asked for the steps of a pool.
    """
    going_on = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_GOING_ON)))
    steps, offset = [], 0
    while found := client.read_task_runs(
        flow_run_filter=of_runs, task_run_filter=going_on, limit=_PAGE, offset=offset
    ):  # fmt: skip
        steps += found
        offset += _PAGE
    runs = sorted({step.flow_run_id for step in steps if step.flow_run_id})
    ours: dict[UUID, FlowRun] = {}
    for first in range(0, len(runs), _PAGE):
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=runs[first : first + _PAGE]))
        found_runs = client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=_OURS, limit=_PAGE)
        ours |= {run.id: run for run in found_runs}
    yield from ((step, ours[step.flow_run_id]) for step in steps if step.flow_run_id in ours)


def _going_on(client: SyncPrefectClient) -> Iterator[FlowRun]:
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_GOING_ON)))
    offset = 0
    while runs := client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=_OURS, limit=_PAGE, offset=offset):
        yield from runs
        offset += _PAGE


def _is_here(run: FlowRun, host: str) -> str:
    """Say which process of this machine is gone; "" where the run is another machine's, or alive."""
    worker = WorkerName.parse(str(run.labels.get("prefect.worker.name", "")))
    if worker is None or worker.host != host or _runs(run):
        return ""
    if not Process(worker.pid, worker.started).is_alive():
        return f"its worker, process {worker.pid} on {host}, is gone"
    # One that lives tells of its runs itself, but not where the server was away just then.
    since = datetime.now(UTC) - timedelta(seconds=LOST_SECONDS)
    is_lost = run.state is not None and run.state.timestamp < since and not _is_made_by_any(run, worker.pid)
    return f"its worker on {host} has no process for it" if is_lost else ""


def _runs(run: FlowRun) -> bool:
    """Whether the process that the worker named is there, and makes this run."""
    try:
        return str(run.id).encode() in Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
    except OSError:
        return False


def _is_made_by_any(run: FlowRun, worker: int) -> bool:
    """Whether a process of this machine makes the run, or that cannot be seen, such as where the worker's variables
    are another user's.
    """
    try:
        Path(f"/proc/{worker}/environ").read_bytes()
    except OSError:
        return True
    for variables in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if str(run.id).encode() in variables.read_bytes():
                return True
    return False


def _is_silent(client: SyncPrefectClient, run: FlowRun, online: set[str]) -> str:
    """Say since when a run shows no life whose worker, which would tell of it, is away; "" for others."""
    worker = str(run.labels.get("prefect.worker.name", ""))
    began = run.state.timestamp if run.state else run.created
    since = datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS)
    if worker in online or began is None or began > since or _beats(client, run, since):
        return ""
    return f"its worker {worker or '(none took it up)'} is away, and it has shown no life for {SILENT_SECONDS:.0f} s"


def _beats(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    asked = {
        "filter": {
            "occurred": {"since": since.isoformat()},
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        },
        "limit": 1,
    }
    return bool(client.request("POST", "/events/filter", json=asked).json()["events"])
