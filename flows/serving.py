"""Offering the flows to a Prefect server from this process. It opens no port: it asks the server for work."""

from typing import Any

from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from configs.experiment import Experiment
from flows.distillation import distillation
from flows.running import origin_of
from flows.server import DEPLOYMENT, check_server
from flows.single_stage import FLOWS


def serve_all(experiment: Experiment | None = None, *, limit: int = 1) -> None:
    """Serve the whole pipeline and every single stage until interrupted; `experiment` is what the forms open with."""
    check_server()
    parameters = {"experiment": origin_of(experiment)} if experiment else {}
    flows: list[Flow[..., Any]] = [distillation, *FLOWS.values()]
    # By module, not by file: then runs may start in any folder.
    how: dict[str, Any] = {"parameters": parameters, "entrypoint_type": EntrypointType.MODULE_PATH}
    serve(*(RunnerDeployment.from_flow(flow, DEPLOYMENT, **how) for flow in flows), limit=limit)
