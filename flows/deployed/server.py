"""What everybody calls the things on the Prefect server, and whether workers are there."""

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.exceptions import ObjectNotFound

from configs.errors import UserError

POOL = "taskdistill"
GPU_QUEUE = "gpu"
SPAN_FLOW = "span"
SPAN_DEPLOYMENT = f"{SPAN_FLOW}/span"
PIPELINE_DEPLOYMENT = "distillation/distillation"

_START_WORKERS = "start one for each GPU with 'CUDA_VISIBLE_DEVICES=0 taskdistill worker'"


class ServerError(UserError):
    """The Prefect server, or what should be on it, is not where it was looked for, or lets others in."""


def check_workers(client: SyncPrefectClient) -> None:
    """Raise ServerError where spans would wait for ever because nobody takes them up."""
    name = SPAN_DEPLOYMENT
    try:
        client.read_deployment_by_name(name)
    except ObjectNotFound:
        raise ServerError(
            f"runtime.fan_out asks for workers, but the server has no deployment {name!r}: {_START_WORKERS}, or set "
            "runtime.fan_out=1"
        ) from None
    if not are_workers_online(client):
        raise ServerError(
            f"runtime.fan_out asks for workers, but none of the work pool {POOL!r} is online: {_START_WORKERS}, or "
            "set runtime.fan_out=1"
        )


def are_workers_online(client: SyncPrefectClient) -> bool:
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    try:
        return bool(client.read_workers_for_work_pool(POOL, worker_filter=online, limit=1))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False  # no worker has created the pool yet
