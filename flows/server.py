"""Which Prefect server is meant, and what everybody calls the things on it."""

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from configs.errors import UserError

POOL = "taskdistill"
GPU_QUEUE = "gpu"
DEPLOYMENT = "taskdistill"
SPAN_FLOW = "span"

_START_WORKERS = "start one for each GPU with 'CUDA_VISIBLE_DEVICES=0 taskdistill worker'"


class ServerError(UserError):
    """The Prefect server, or what should be on it, is not where it was looked for."""


def check_server() -> None:
    """Raise ServerError where Prefect would start a hidden temporary server, or none answers."""
    url = PREFECT_API_URL.value()
    advice = "start one with 'prefect server start --host 127.0.0.1' and set PREFECT_API_URL=http://127.0.0.1:4200/api"
    if not url:
        raise ServerError(f"no Prefect server is named: {advice}")
    with get_client(sync_client=True) as client:
        if problem := client.api_healthcheck():
            raise ServerError(f"no Prefect server answers at {url} ({problem}): {advice}")


def check_workers(client: SyncPrefectClient) -> None:
    """Raise ServerError where spans would wait for ever because nobody takes them up."""
    name = f"{SPAN_FLOW}/{DEPLOYMENT}"
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
