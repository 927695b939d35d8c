"""Offering the flows to a Prefect server from this process: it asks the server for work, and nobody asks it.

While it serves, Prefect listens on a port of 127.0.0.1, by which the processes of its runs are told to cancel; each of
them is given a token for it.
"""

import logging
from typing import Any

from prefect import Flow
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.types.entrypoint import EntrypointType

from flows.deployed.distillation import distillation, distillation_all_settings
from flows.deployed.single_stage import FLOWS
from flows.deployed.stopping import until_stopped
from storage.store import ArtifactStore

log = logging.getLogger(__name__)


class _Runner(Runner):
    """Leaves SIGTERM to flows.deployed.stopping: Prefect's own handler waits for itself while a run is in progress."""

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        pass


def serve_all(*, limit: int = 1) -> None:
    """Serve the whole pipeline and every single stage until stopped."""
    ArtifactStore.from_env_for_children()  # each run is a process, which may start in another folder
    flows: dict[str, Flow[..., Any]] = {
        "distillation": distillation,
        "distillation-all-settings": distillation_all_settings,
        **{f"stage-{name}": flow for name, flow in FLOWS.items()},
    }
    # By module, not by file: then runs may start in any folder.
    how: dict[str, Any] = {"entrypoint_type": EntrypointType.MODULE_PATH}
    runner = _Runner(limit=limit)
    for name, flow in flows.items():
        runner.add_deployment(RunnerDeployment.from_flow(flow, name, **how))
    log.info("serving %d flows at %s", len(flows), PREFECT_UI_URL.value() or PREFECT_API_URL.value())
    until_stopped(runner.start())
