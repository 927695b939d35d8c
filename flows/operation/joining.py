"""Joining a server as a worker: whom to trust, which store, and then work."""

from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from taskdistill.flows.deployed.server import CPU_QUEUE, GPU_QUEUE, POOL
from taskdistill.flows.operation.deploying import deploy
from taskdistill.flows.operation.pool import create_pool
from taskdistill.flows.operation.processes import this_host
from taskdistill.flows.operation.server_access import (
    PORT,
    check_closed,
    check_known,
    check_password,
    check_server,
    log_in,
)
from taskdistill.flows.operation.shared_store import (
    announce_store,
    announced_store,
    check_other_hosts,
    check_store,
)
from taskdistill.flows.operation.state import StateFolder
from taskdistill.flows.operation.stopping import OnStop
from taskdistill.storage.store import ArtifactStore


def join(
    folder: StateFolder,
    *,
    port: int | None,
    queue: str,
    runs: int,
    on_stop: OnStop,
    presets: Path | None,
    allow_open_server: bool,
) -> None:
    """Work until stopped; ServerError or StoreError where the server or the store is not fit for it."""
    url = log_in(port or PORT)
    check_server(url)
    if not allow_open_server:
        check_closed(url)
        check_known(url)
    check_password(url)
    with get_client(sync_client=True) as client:
        store = ArtifactStore.from_env_for_children()
        check_store(client, store)
        if announced_store(client) is None:  # a server that others have started: as for `up`, this store is the one
            announce_store(client, store, this_host())
        check_other_hosts(client, store, this_host())
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:  # a server that others have started: everything it needs of ours
            folder.make()
            create_pool(client)
            deploy(client, folder, presets)
    from taskdistill.flows.operation.worker import work  # what Prefect reads while it is imported is set by now

    slots = {CPU_QUEUE: runs, GPU_QUEUE: 1}
    work({name: number for name, number in slots.items() if queue in (name, "both")}, on_stop)
