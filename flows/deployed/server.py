"""What everybody calls the things on the Prefect server, and whether workers are there.

Nothing here imports torch, or a flow: it is read before either is needed.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import Worker
from prefect.exceptions import ObjectNotFound

from taskdistill.configs.errors import UserError

POOL = "taskdistill"
TAG = "taskdistill"
"""Of each deployment, and so of its runs: a server may have those of other projects as well."""
OF_OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
"""What an automation is to match among what is related to a run, to leave those of others alone."""
CPU_QUEUE = "cpu"
"""Of pipelines and single stages, which compute by themselves, or wait for workers."""
GPU_QUEUE = "gpu"
"""Of spans and whole steps: never of who waits for them, who would take the places they need."""
SPAN_FLOW = "span"
SPAN_DEPLOYMENT = f"{SPAN_FLOW}/span"
STEP_FLOW = "step"
STEP_DEPLOYMENT = f"{STEP_FLOW}/step"
PIPELINE_DEPLOYMENT = "distillation/distillation"

_START_WORKERS = (
    "'taskdistill up' starts one, and on another host 'CUDA_VISIBLE_DEVICES=0 taskdistill worker --queue gpu' one for "
    "each GPU"
)


class ServerError(UserError):
    """The Prefect server, or what should be on it, is not where it was looked for, or lets others in."""


def stage_deployment(stage: str) -> str:
    """Return what the deployment of a single stage is called."""
    return f"{stage}/stage-{stage}"


class WorkerName(NamedTuple):
    """What a worker's name says: Prefect keeps nothing else of a worker.

    Prefect takes two workers of one name for one, so it holds host, process and when that process began.
    """

    host: str
    pid: int
    started: int
    slots: dict[str, int]
    """Queue -> how many of its runs the worker does at the same time."""

    def __str__(self) -> str:
        slots = "-".join(f"{queue}x{number}" for queue, number in self.slots.items())
        return f"{self.host}-{self.pid}-{self.started}-{slots}"

    @classmethod
    def parse(cls, name: str) -> "WorkerName | None":
        """Return what a name says; None where it is of a worker that others started."""
        if not (found := re.fullmatch(r"(.+?)-(\d+)-(\d+)((?:-[a-z]+x\d+)+)", name)):
            return None
        slots = {queue: int(number) for queue, number in re.findall(r"-([a-z]+)x(\d+)", found[4])}
        return cls(found[1], int(found[2]), int(found[3]), slots)


def check_workers(client: SyncPrefectClient, deployment: str) -> None:
    """Raise ServerError where its runs would wait for ever because nobody takes them up."""
    try:
        client.read_deployment_by_name(deployment)
    except ObjectNotFound:
        raise ServerError(
            f"runtime.fan_out asks for workers, but the server has no deployment {deployment!r}: "
            f"{_START_WORKERS}, or set runtime.fan_out=1"
        ) from None
    if not are_workers_online(client):
        raise ServerError(
            f"runtime.fan_out asks for workers, but none of the work pool {POOL!r} is online: {_START_WORKERS}, or "
            "set runtime.fan_out=1"
        )


def are_workers_online(client: SyncPrefectClient) -> bool:
    """Whether somebody takes up spans and whole steps."""
    return any(GPU_QUEUE in name.slots for name in worker_names(client))


def worker_names(client: SyncPrefectClient) -> Iterator[WorkerName]:
    """Yield the names of our workers that are online."""
    yield from (name for worker in online_workers(client) if (name := WorkerName.parse(worker.name)))


def online_workers(client: SyncPrefectClient) -> list[Worker]:
    """Return the workers that the server has heard of lately."""
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    try:
        return client.read_workers_for_work_pool(POOL, worker_filter=online)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return []  # no worker has created the pool yet
