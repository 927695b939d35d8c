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

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from taskdistill.flows.deployed.server import POOL, WorkerName, online_workers
from taskdistill.flows.operation.pool import SILENT_SECONDS
from taskdistill.flows.operation.processes import Process

log = logging.getLogger(__name__)

TOLD_SECONDS = 60.0
"""After the end of a run, until the server knows of its steps: they are told by another way."""
_GOING_ON = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_PAGE = 200


class Zombie(NamedTuple):
    """A run that nobody makes, and how that is known."""

    run: FlowRun
    because: str


def zombies(client: SyncPrefectClient, host: str) -> list[Zombie]:
    """Return the runs of the pool that nobody makes; `host` is the name of this machine."""
    online = {worker.name for worker in online_workers(client)}
    reasons = ((run, _is_here(run, host) or _is_silent(client, run, online)) for run in _going_on(client))
    return [Zombie(run, because) for run, because in reasons if because]


def end_zombies(client: SyncPrefectClient, host: str) -> None:
    """Have the server say what became of them."""
    for run, because in zombies(client, host):
        is_cancelled = run.state is not None and run.state.is_cancelling()
        state = Cancelled if is_cancelled else Crashed
        message = f"Nobody makes it any more: {because}."
        log.warning("the run %s is over: %s", run.name, because)
        with contextlib.suppress(ObjectNotFound):  # somebody deleted it meanwhile
            client.set_flow_run_state(
                run.id, state(message=message + ("" if is_cancelled else " Retry continues it.")), force=True
            )


def end_steps(client: SyncPrefectClient) -> None:
    """Have the server say that steps are over whose run is: a process that is killed tells nothing of its own."""
    told = datetime.now(UTC) - timedelta(seconds=TOLD_SECONDS)
    over = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=told),
    )
    steps = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_GOING_ON)))
    for step in client.read_task_runs(flow_run_filter=over, task_run_filter=steps, limit=_PAGE):
        state: State[Any] = Crashed(message="Its run is over: the process that made it ended without a word.")
        with contextlib.suppress(ObjectNotFound):  # somebody deleted it meanwhile
            client.set_task_run_state(step.id, state, force=True)


def _going_on(client: SyncPrefectClient) -> Iterator[FlowRun]:
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_GOING_ON)))
    ours, offset = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])), 0
    while runs := client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=ours, limit=_PAGE, offset=offset):
        yield from runs
        offset += _PAGE


def _is_here(run: FlowRun, host: str) -> str:
    """Say which process of this machine is gone; "" where the run is another machine's, or alive."""
    worker = WorkerName.parse(str(run.labels.get("prefect.worker.name", "")))
    if worker is None or worker.host != host or Process(worker.pid, worker.started).is_alive():
        return ""  # a worker that lives tells of its runs itself
    return "" if _runs(run) else f"its worker, process {worker.pid} on {host}, is gone"


def _runs(run: FlowRun) -> bool:
    """Whether the process that the worker named is there, and makes this run."""
    try:
        return str(run.id).encode() in Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
    except OSError:
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
