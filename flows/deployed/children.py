"""Runs that a run asks workers for, on the gpu queue of the work pool, and waits for: each makes a part of an artifact
(flows.deployed.fan_out), or the whole of one (flows.deployed.whole_steps).

The run that asks waits until each of its children is over, and believes none of their states: the store shows what is
there. Children of an earlier attempt, whose parent died and who did not, are waited for, not doubled. What a child had
to make whose worker died is asked for again, so that another worker goes on with it, but not for ever: it may be what
kills workers.

A worker that is killed together with its child leaves a run that stays Running for ever. Prefect's answer is an
automation on heartbeats; ours needs none: whoever makes something holds a lock on it in the store, which the kernel
frees at any death. A child that shows no life for a while (holds no lock and makes nothing; or waits for a worker and
none is online) is given up and marked Crashed. So the store must be on a file system where locks hold between
hosts (local disk, NFS 4), as it must for everything else. Cancelling the run that asks cancels its children too: they
are nested in it, and the server sees to it within half a minute.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from uuid import uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from taskdistill.flows.deployed.patience import Answer, patiently
from taskdistill.flows.deployed.server import are_workers_online, check_workers
from taskdistill.flows.pipeline.process_pool import StepKilledError
from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.partitions import span_name

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
UNSEEN_SECONDS = 300.0
"""Before a child is given up that was never seen at work. It holds its lock some 20 s after it is Running: this leaves
time for slow disks.
"""
LAST_WORD_SECONDS = 30.0
"""The same for one that has held its lock: nothing but its last state is still to come."""
WORKERS_SECONDS = 60.0
"""For a worker to be online: after the server was away each shows itself within half a minute."""
MAX_ATTEMPTS = 3
"""Times that the same is asked for within a run, if workers die of it."""
PAGE = 200
"""Runs a server returns at most for one question."""
WHOLE = (0,)
"""The units of an artifact that is not made in parts."""


@dataclass
class Child:
    """A run that makes something, and when it last showed life, in seconds since the epoch."""

    run: FlowRun
    units: frozenset[int]
    """The numbers of its partitions."""
    part: str
    """Whose lock it holds while at work; "" for that of the artifact."""
    seen_alive: float
    num_missing: int
    state: State | None
    """The last that is known; None of a run that was deleted."""
    is_adopted: bool
    """Whether another run asked for it, or an earlier attempt of this one."""
    was_at_work: bool = False

    @classmethod
    def of(cls, run: FlowRun, seen_alive: float, *, is_adopted: bool) -> "Child":
        numbers = run.parameters.get("numbers")
        units, part = numbers or WHOLE, span_name(numbers) if numbers else ""
        return cls(run, frozenset(units), part, seen_alive, len(units), run.state, is_adopted)

    @property
    def is_left(self) -> bool:
        """Whether nobody decided, for the run that asks, that this child is over: its worker died, or another run that
        had asked for it was cancelled.
        """
        return self.state is not None and (self.state.is_crashed() or (self.is_adopted and self.state.is_cancelled()))


class Asking:
    """What one run asks workers for, to make one artifact."""

    def __init__(self, store: ArtifactStore, ref: ArtifactRef, deployment: str, stopped: threading.Event) -> None:
        """`stopped` is set when the run that asks is over before its children are."""
        self._store, self._ref, self._deployment, self._stopped = store, ref, deployment, stopped

    def have_made(
        self,
        units: Sequence[int],
        ask: Callable[[Sequence[int]], Sequence[FlowRun]],
        still_missing: Callable[[], list[int]],
    ) -> list[Child]:
        """Have units made, by the runs that `ask` starts for them, and return when nobody does anything for them any
        more, whether or not they are there; returns the last children.

        Raises ServerError where no worker is online, StepKilledError where the run that asks is over, and what httpx
        does where the server stays away.
        """
        children: list[Child] = []
        with get_client(sync_client=True) as client:
            # What an earlier attempt asked for is on its way: asked for again, two workers would load the network.
            waiting = self._patiently(lambda: list(self._asked_before(client)))
            self._await_workers(client)
            for _ in range(MAX_ATTEMPTS):
                asked = {unit for child in waiting for unit in child.units}
                if unasked := [unit for unit in units if unit not in asked]:
                    waiting += [Child.of(run, time.time(), is_adopted=False) for run in ask(unasked)]
                children = waiting
                Watcher(client, self._store, self._ref, children, self._stopped).until_over(still_missing)
                left = {unit for child in children if child.is_left for unit in child.units}
                if not (units := sorted(left.intersection(still_missing()))):
                    break
                log.warning("what is missing of %s is left to another worker", self._ref.short)
                waiting = []
        return children

    def start(self, name: str, parameters: dict[str, Any]) -> FlowRun:
        """Ask for a run, once, however often the server has to be asked; returns when it is scheduled."""
        ask = partial(
            run_deployment,
            self._deployment,
            parameters=parameters,
            flow_run_name=name,
            tags=[str(self._ref)],  # by which a later attempt finds it
            idempotency_key=str(uuid4()),  # one whose answer was lost is not asked for twice
            timeout=0,
        )
        return cast(FlowRun, self._patiently(ask))

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        return patiently(ask, partial(pause, self._stopped))

    def _await_workers(self, client: SyncPrefectClient) -> None:
        """Raise ServerError where no worker is online, nor shows itself in a while."""
        deadline = time.monotonic() + WORKERS_SECONDS
        while not self._patiently(partial(are_workers_online, client)) and time.monotonic() < deadline:
            pause(self._stopped, POLL_SECONDS)
        self._patiently(partial(check_workers, client, self._deployment))

    def _asked_before(self, client: SyncPrefectClient) -> Iterator[Child]:
        """Children of earlier attempts at this artifact that are not over, or not known to be."""
        # Cancelling is not terminal yet, but such a run makes nothing more.
        ending = {*TERMINAL_STATES, StateType.CANCELLING}
        going_on = FlowRunFilterStateType(any_=[state for state in StateType if state not in ending])
        chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[str(self._ref)]), state=FlowRunFilterState(type=going_on))
        offset = 0
        while runs := client.read_flow_runs(flow_run_filter=chosen, limit=PAGE, offset=offset):
            for run in runs:
                log.info("%s is still there from an earlier attempt", run.name)
                # Nobody has watched it since its last change of state: it is given the usual time from there.
                yield Child.of(run, run.state.timestamp.timestamp() if run.state else 0.0, is_adopted=True)
            offset += PAGE


class Watcher:
    """Waits for children."""

    def __init__(
        self,
        client: SyncPrefectClient,
        store: ArtifactStore,
        ref: ArtifactRef,
        children: Sequence[Child],
        stopped: threading.Event,
    ) -> None:
        self._client, self._store, self._ref, self._stopped = client, store, ref, stopped
        self._waiting = list(children)

    def until_over(self, still_missing: Callable[[], list[int]]) -> None:
        """Return when no child does anything any more, whether or not it has done what it was to do; StepKilledError
        where the run that asks is over before.
        """
        while self._waiting:
            try:
                self._look(still_missing)
            except httpx.HTTPError as error:  # a server that is away must not stop hours of work
                log.warning("the Prefect server does not answer (%s); asking again", error)
            if self._waiting:
                pause(self._stopped, POLL_SECONDS)

    def _look(self, still_missing: Callable[[], list[int]]) -> None:
        are_online = are_workers_online(self._client)
        for child in self._waiting:
            child.state = self._state_of(child)
        missing = set(still_missing())  # after the states: what a run that is over has made is there by now
        self._waiting = [child for child in self._waiting if not self._is_over(child, missing, are_online)]

    def _is_over(self, child: Child, missing: set[int], are_online: bool) -> bool:
        num_missing, state = len(missing & child.units), child.state
        if state is None or state.is_final():
            _remark(child, num_missing, f"is {state.name}" if state else "was deleted")
            return True
        if state.is_scheduled() and not num_missing:  # others were faster, and it will find what they made
            return True
        # Waiting is no silence while workers are online: one of them will come to it after those before it.
        is_waiting, is_at_work = state.is_scheduled() and are_online, self._is_at_work(child)
        if is_waiting or is_at_work or num_missing < child.num_missing:
            child.seen_alive = time.time()
        child.was_at_work |= is_at_work
        child.num_missing = num_missing
        if time.time() - child.seen_alive <= (LAST_WORD_SECONDS if child.was_at_work else UNSEEN_SECONDS):
            return False
        _remark(child, num_missing, f"is {state.name}, but nobody is at work on it: given up")
        message = "Nobody makes this any more: the worker died, or none was there to take the run up."
        child.state = Crashed(message=message)
        self._client.set_flow_run_state(child.run.id, child.state)
        return True

    def _state_of(self, child: Child) -> State | None:
        try:
            return self._client.read_flow_run(child.run.id).state
        except ObjectNotFound:
            return None

    def _is_at_work(self, child: Child) -> bool:
        try:
            # Held for a moment only; a worker that wants it just then waits for as long.
            with self._store.lock(self._ref, part=child.part, wait=False):
                return False
        except StillNeededError:
            return True


def pause(stopped: threading.Event, seconds: float) -> None:
    """Wait; StepKilledError where the run that asks is over before."""
    if stopped.wait(seconds):
        raise StepKilledError("the run is over")


def _remark(child: Child, num_missing: int, how: str) -> None:
    if num_missing:
        left = f"; {num_missing} of its {len(child.units)} units are missing" if child.part else ""
        log.warning("%s %s%s", child.run.name, how, left)
