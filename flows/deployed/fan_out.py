"""Partitions of a stage dispatched to workers: a Prefect run for each span of them, on the gpu queue of the work pool.

The run that asks waits until each of its children is over, and believes none of their states: tasks.partitions looks
for the partitions themselves. Children of an earlier attempt, whose parent died and who did not, are waited for, not
doubled.

A worker that is killed together with its child leaves a run that stays Running for ever. Prefect's answer is an
automation on heartbeats; ours needs none: whoever makes a span holds a lock on it in the store, which the kernel frees
at any death. A child that shows no life for a while (holds no lock and makes nothing; or waits for a worker and none
is online) is given up and marked Crashed. So the store must be on a file system where locks hold between
hosts (local disk, NFS 4), as it must for everything else. Cancelling the run that asks cancels its children too: they
are nested in it, and the server sees to it within half a minute.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from configs.base import RuntimeConfig
from configs.places import portable
from flows.deployed.server import SPAN_DEPLOYMENT, are_workers_online, check_workers
from flows.pipeline.planning import PlannedStep
from storage.errors import StillNeededError
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.partitions import cut, is_of_partitions, span_name
from tasks.stage import Dispatch

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
SILENT_SECONDS = 300.0
"""Before a child is given up that was never seen at work. It holds its lock some 20 s after it is Running: this leaves
time for slow disks.
"""
SILENT_AFTER_WORK_SECONDS = 30.0
"""The same for one that has held its lock: nothing but its last state is still to come."""
PAGE = 200
"""Runs a server returns at most for one question."""


def over_workers(
    step: PlannedStep, store: ArtifactStore, runtime: RuntimeConfig
) -> Callable[[ArtifactRef], Dispatch] | None:
    """Return what dispatches the partitions of a step to `runtime.fan_out` workers; None where this process is to make
    them itself. What is returned raises ServerError where no worker is online.
    """
    if runtime.fan_out == 1 or not is_of_partitions(step.stage):
        return None
    request = {
        "stage": step.stage.name,
        "config": portable(step.config),
        "inputs": {role: str(ref) for role, ref in step.inputs.items()},
        "runtime": runtime.model_dump(mode="json"),
    }

    def dispatch_for(ref: ArtifactRef) -> Dispatch:
        def dispatch(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
            with get_client(sync_client=True) as client:
                check_workers(client)
                # What an earlier attempt asked for is on its way: asked for again, two workers would load the network.
                children = list(_asked_before(client, ref))
                asked = {number for child in children for number in child.numbers}
                unasked = [number for number in missing if number not in asked]
                children += [_ask(request, ref, numbers) for numbers in cut(unasked, runtime.fan_out)]
                SpanWatcher(client, store, ref, children).until_over(still_missing)

        return dispatch

    return dispatch_for


@dataclass
class SpanRun:
    """A run that makes a span, and when it last showed life, in seconds since the epoch."""

    run: FlowRun
    numbers: frozenset[int]
    part: str
    seen_alive: float
    num_missing: int
    was_at_work: bool = False


def _ask(request: dict[str, Any], ref: ArtifactRef, numbers: Sequence[int]) -> SpanRun:
    run = run_deployment(
        SPAN_DEPLOYMENT,
        parameters=request | {"wanted": str(ref), "numbers": list(numbers)},
        flow_run_name=f"{request['stage']} {ref.short} {span_name(numbers)}",
        tags=[str(ref)],  # by which a later attempt finds it
        timeout=0,  # returns as soon as the run is scheduled
    )
    return _child(cast(FlowRun, run), seen_alive=time.time())


def _child(run: FlowRun, *, seen_alive: float) -> SpanRun:
    numbers = run.parameters["numbers"]
    return SpanRun(run, frozenset(numbers), span_name(numbers), seen_alive, len(numbers))


def _asked_before(client: SyncPrefectClient, ref: ArtifactRef) -> Iterator[SpanRun]:
    """Children of earlier attempts at this artifact that are not over, or not known to be."""
    # Cancelling is not terminal yet, but such a run makes nothing more.
    ending = {*TERMINAL_STATES, StateType.CANCELLING}
    going_on = FlowRunFilterStateType(any_=[state for state in StateType if state not in ending])
    chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[str(ref)]), state=FlowRunFilterState(type=going_on))
    offset = 0
    while runs := client.read_flow_runs(flow_run_filter=chosen, limit=PAGE, offset=offset):
        for run in runs:
            log.info("%s is still there from an earlier attempt", run.name)
            # Nobody has watched it since its last change of state: it is given the usual time from there.
            yield _child(run, seen_alive=run.state.timestamp.timestamp() if run.state else 0.0)
        offset += PAGE


class SpanWatcher:
    """Waits for children."""

    def __init__(
        self, client: SyncPrefectClient, store: ArtifactStore, ref: ArtifactRef, children: Sequence[SpanRun]
    ) -> None:
        self._client, self._store, self._ref = client, store, ref
        self._waiting = list(children)

    def until_over(self, still_missing: Callable[[], list[int]]) -> None:
        """Return when no child does anything any more, whether or not it has done what it was to do."""
        while self._waiting:
            try:
                self._look(still_missing)
            except httpx.HTTPError as error:  # a server that is away must not stop hours of work
                log.warning("the Prefect server does not answer (%s); asking again", error)
            if self._waiting:
                time.sleep(POLL_SECONDS)

    def _look(self, still_missing: Callable[[], list[int]]) -> None:
        are_online = are_workers_online(self._client)
        runs = [self._read(child) for child in self._waiting]
        missing = set(still_missing())  # after the states: what a run that is over has made is there by now
        looked_at = zip(self._waiting, runs, strict=True)
        self._waiting = [child for child, run in looked_at if not self._is_over(child, run, missing, are_online)]

    def _is_over(self, child: SpanRun, run: FlowRun | None, missing: set[int], are_online: bool) -> bool:
        num_missing, state = len(missing & child.numbers), run.state if run else None
        if state is None or state.is_final():
            _remark(child, num_missing, f"is {state.name}" if state else "was deleted")
            return True
        # Waiting is no silence while workers are online: one of them will come to it after the spans before it.
        is_waiting, is_at_work = state.is_scheduled() and are_online, self._is_at_work(child)
        if is_waiting or is_at_work or num_missing < child.num_missing:
            child.seen_alive = time.time()
        child.was_at_work |= is_at_work
        child.num_missing = num_missing
        if time.time() - child.seen_alive <= (SILENT_AFTER_WORK_SECONDS if child.was_at_work else SILENT_SECONDS):
            return False
        _remark(child, num_missing, f"is {state.name}, but nobody is at work on it: given up")
        message = "Nobody makes these units any more: the worker died, or none was there to take the run up."
        self._client.set_flow_run_state(child.run.id, Crashed(message=message))
        return True

    def _read(self, child: SpanRun) -> FlowRun | None:
        try:
            return self._client.read_flow_run(child.run.id)
        except ObjectNotFound:
            return None

    def _is_at_work(self, child: SpanRun) -> bool:
        try:
            # Held for a moment only; a worker that wants it just then waits for as long.
            with self._store.lock(self._ref, part=child.part, wait=False):
                return False
        except StillNeededError:
            return True


def _remark(child: SpanRun, num_missing: int, how: str) -> None:
    if num_missing:
        log.warning("%s %s; %d of its %d units are missing", child.run.name, how, num_missing, len(child.numbers))
