"""A worker: it takes spans from the work pool's gpu queue, each of which runs in a process of its own.

Started once for each GPU, with CUDA_VISIBLE_DEVICES saying which: its processes inherit it. It asks the server for
work, and nobody asks it; while it works, Prefect listens on a port of 127.0.0.1, by which those processes, each with a
token, are told to cancel. The runs that ask for spans are run by `taskdistill serve`, never from this queue, so that
they cannot take the places their own spans wait for.
"""

import contextlib
import os
import socket
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.processutils import command_to_string, get_sys_executable
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from flows.deployed.server import GPU_QUEUE, POOL, SPAN_FLOW
from flows.deployed.spans import span
from flows.deployed.stopping import until_stopped
from storage.store import ArtifactStore


class _WithoutSupervisor(ProcessJobConfiguration):
    """Runs the flow's process itself. Prefect would put another before it, which installs dependencies we do not have,
    takes seconds, and after a crash finds Prefect's module `storage` where our package is meant.
    """

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:
        self.command = command_to_string([get_sys_executable(), "-m", "prefect.engine"])
        super().prepare_for_flow_run(*arguments, **named)


def work(*, limit: int = 1) -> None:
    """Take up spans until stopped, `limit` at a time."""
    ArtifactStore.from_env_for_children()
    with get_client(sync_client=True) as client:
        create_pool(client)
    # After the pool, which a deployment belongs to, and before the work: who asks for a span looks for its deployment.
    register()
    # Prefect takes two workers of one name for one, so the name holds host and process.
    worker = ProcessWorker(
        name=f"{socket.gethostname()}-{os.getpid()}", work_pool_name=POOL, work_queues=[GPU_QUEUE], limit=limit
    )
    # Prefect has no argument for it, but reads it from the worker.
    worker.job_configuration = _WithoutSupervisor
    until_stopped(worker.start())


def create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool and its queue where they are missing; several workers may do so at once."""
    template = ProcessWorker.get_default_base_job_template()
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_queue(name=GPU_QUEUE, work_pool_name=POOL)


def register() -> None:
    """Offer the flow `span` on the gpu queue; by module, not by file, so that it starts in any folder."""
    how: dict[str, Any] = {"entrypoint_type": EntrypointType.MODULE_PATH}
    RunnerDeployment.from_flow(span, SPAN_FLOW, work_pool_name=POOL, work_queue_name=GPU_QUEUE, **how).apply()
