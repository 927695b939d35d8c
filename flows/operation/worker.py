"""A worker: it takes runs from queues of the work pool, each of which runs in a process of its own.

For the gpu queue there is one for each GPU, with CUDA_VISIBLE_DEVICES saying which: its processes inherit it. It asks
the server for work, and nobody asks it; while it works, Prefect listens on a port of 127.0.0.1, by which those
processes, each with a token, are told to cancel.
"""

import abc
import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.process import ProcessWorker

from taskdistill.flows.deployed.server import POOL, WorkerName
from taskdistill.flows.operation.outage import Listening
from taskdistill.flows.operation.pool import make_room
from taskdistill.flows.operation.prefect_environment import tell_runs_which_store
from taskdistill.flows.operation.processes import Process, this_host
from taskdistill.flows.operation.shared_store import held_by_worker, store_id
from taskdistill.flows.operation.stopping import OnStop, until_stopped
from taskdistill.flows.operation.warm import WarmWorker
from taskdistill.flows.operation.zombies import end_steps, end_zombies
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0


class _Worker(WarmWorker, abc.ABC):
    """One that can stop taking up runs before it stops, and keeps to its number of each queue; abstract, as Prefect
    would register it in place of its own.
    """

    takes_runs = True
    slots: Mapping[UUID, int] = {}
    """Queue -> how many of its runs it does at the same time. Prefect limits a worker as a whole."""
    _queues: Mapping[UUID, UUID] = {}
    """Run -> queue, of those it has taken up."""

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return await super().get_and_submit_flow_runs() if self.takes_runs else []

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Leave to other workers what is more than this one does of a queue."""
        found = await super()._get_scheduled_flow_runs()
        at_work = {run: queue for run, queue in self._queues.items() if run in self.limiter.statistics().borrowers}
        taken = []
        for each in found:
            run, queue = each.flow_run.id, each.work_queue_id
            if run not in at_work and list(at_work.values()).count(queue) < self.slots.get(queue, len(found)):
                at_work[run] = queue
                taken.append(each)
        self._queues = at_work
        return taken


def work(slots: Mapping[str, int], on_stop: OnStop) -> None:
    """Take up runs of each queue until stopped, so many at a time; StoreError where the store is not fit for it."""
    store = ArtifactStore.from_env_for_children()  # each run is a process, which starts in another folder
    tell_runs_which_store(store_id(store))
    own = Process.own()
    name = WorkerName(this_host(), own.pid, own.started, dict(slots))
    with held_by_worker(store, str(name)):
        with get_client(sync_client=True) as client:
            of_queues = make_room(client, name)
        worker = _Worker(
            name=str(name), work_pool_name=POOL, work_queues=list(slots), limit=sum(slots.values()),
            create_pool_if_not_found=False,
        )  # fmt: skip
        worker.slots = of_queues
        until_stopped(_working(worker, name), on_stop, partial(setattr, worker, "takes_runs", False))


async def _working(worker: ProcessWorker, name: WorkerName) -> None:
    sweeping = asyncio.create_task(_sweep(name))
    try:
        await worker.start()
    finally:
        sweeping.cancel()


async def _sweep(name: WorkerName) -> None:
    """Look now and then for runs that nobody makes, and for workers that came and went."""
    listening = Listening()

    def runs() -> None:
        with listening.asking() as seconds, get_client(sync_client=True) as client:
            end_zombies(client, name.host, seconds)

    while True:
        await _tried(runs)
        await _tried(partial(_ask, end_steps))
        await _tried(partial(_ask, partial(make_room, name=name)))
        await asyncio.sleep(SWEEP_SECONDS)


def _ask(what: Callable[[SyncPrefectClient], object]) -> None:
    with get_client(sync_client=True) as client:
        what(client)


async def _tried(look: Callable[[], None]) -> None:
    """Do it beside the worker's own; whatever goes wrong is said, and there is a next time."""
    trying = asyncio.ensure_future(asyncio.to_thread(look))
    await asyncio.wait([trying])
    if (error := trying.exception()) and not isinstance(error, httpx.HTTPError):  # of a server that is away others tell
        log.error("the worker could not look after what is on the server: %s", error, exc_info=error)
