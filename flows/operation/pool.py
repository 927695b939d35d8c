"""The work pool, its queues with their limits, and what ends runs that nobody makes any more.

A queue lets as many runs go on as the workers that are online can do: each worker adds its own when it starts, takes
those from the server that have died on its machine, and counts again every half minute: of two that start at once each
may have missed the other, and those of another host seem to be away for a while after the server was. A limit that is
too high for as long does no harm, as every worker keeps to its own.
"""

import contextlib
from datetime import timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from taskdistill.flows.deployed.server import CPU_QUEUE, GPU_QUEUE, OF_OURS, POOL, WorkerName, worker_names
from taskdistill.flows.operation.processes import Process

AUTOMATION = "taskdistill: a run that shows no life is over"
SILENT_SECONDS = 100.0
"""Without a sign of life, of which there is one every 30 s: what is left of two minutes is for the server to see it,
and a server that is away for a minute does not take healthy runs for dead.
"""
QUEUES = {
    CPU_QUEUE: "Pipelines and single stages; as many at the same time as `--runs` of the workers allow.",
    GPU_QUEUE: "What runs with runtime.fan_out have workers do; one at a time for each GPU.",
}


def create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool, its queues and the automation where they are missing; several may do so at once."""
    template = ProcessWorker.get_default_base_job_template()
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))
    for name, description in QUEUES.items():
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_queue(name=name, description=description, work_pool_name=POOL, concurrency_limit=1)
    _create_automation(client)


def make_room(client: SyncPrefectClient, name: WorkerName) -> dict[UUID, int]:
    """Let a worker have its share of the queues' limits; returns the share by the queue's id."""
    # Seen by others before the others are counted: of two that start at once, the later counts both.
    client.send_worker_heartbeat(POOL, str(name), heartbeat_interval_seconds=30)
    _forget_dead_workers(client, name.host)
    workers = {str(each): each for each in (name, *worker_names(client))}
    shares = {}
    for queue, share in name.slots.items():
        limit = sum(each.slots.get(queue, 0) for each in workers.values())
        found = client.read_work_queue_by_name(queue, work_pool_name=POOL)
        if found.concurrency_limit != limit:
            client.update_work_queue(found.id, concurrency_limit=limit)
        shares[found.id] = share
    return shares


def _forget_dead_workers(client: SyncPrefectClient, host: str) -> None:
    """Take those of this machine from the server whose process is gone: it would take them for online for a while."""
    for name in worker_names(client):
        if name.host == host and not Process(name.pid, name.started).is_alive():
            where = {"work_pool_name": POOL, "name": str(name)}
            try:
                client.request("DELETE", "/work_pools/{work_pool_name}/workers/{name}", path_params=where)
            except httpx.HTTPStatusError as error:
                # Another worker that starts may have done so already.
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise


def _create_automation(client: SyncPrefectClient) -> None:
    """Create it once, or mend it where its settings are no longer ours; one that was switched off stays so."""
    wanted = of_silent_runs()
    existing = client.read_automations_by_name(AUTOMATION)
    if not existing:
        client.create_automation(wanted)
    elif existing[0].trigger != wanted.trigger:
        wanted.enabled = existing[0].enabled
        client.update_automation(existing[0].id, wanted)
    for double in existing[1:]:  # two that started at once, each of which found none
        client.delete_automation(double.id)


def of_silent_runs() -> AutomationCore:
    """Return the automation that ends our runs that show no life."""
    return AutomationCore(
        name=AUTOMATION,
        description=f"Marks a run Crashed that has shown no life for {SILENT_SECONDS:.0f} s; Retry continues it.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=OF_OURS,
            for_each={"prefect.resource.id"},
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *_ENDS},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="No sign of life: its process or its machine is gone. Retry: the run continues where it was.",
            )
        ],
    )


_ENDS = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry")}
"""Events after which nothing more is expected."""
