"""Offering the flows to a Prefect server from this process. It opens no port: it asks the server for work."""

from typing import Any

from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from configs.errors import UserError
from configs.experiment import Experiment
from flows.distillation import distillation
from flows.running import origin_of
from flows.single_stage import FLOWS


class ServerError(UserError):
    """The Prefect server is not where it was looked for."""


def serve_all(experiment: Experiment | None = None, *, limit: int = 1) -> None:
    """Serve the whole pipeline and every single stage until interrupted; `experiment` is what the forms open with."""
    _check_server()
    parameters = {"experiment": origin_of(experiment)} if experiment else {}
    flows: list[Flow[..., Any]] = [distillation, *FLOWS.values()]
    # By module, not by file: then runs may start in any folder.
    how: dict[str, Any] = {"parameters": parameters, "entrypoint_type": EntrypointType.MODULE_PATH}
    serve(*(RunnerDeployment.from_flow(flow, "taskdistill", **how) for flow in flows), limit=limit)


def _check_server() -> None:
    """Raise ServerError where Prefect would start a hidden temporary server, or none answers."""
    url = PREFECT_API_URL.value()
    advice = "start one with 'prefect server start --host 127.0.0.1' and set PREFECT_API_URL=http://127.0.0.1:4200/api"
    if not url:
        raise ServerError(f"no Prefect server is named: {advice}")
    with get_client(sync_client=True) as client:
        if problem := client.api_healthcheck():
            raise ServerError(f"no Prefect server answers at {url} ({problem}): {advice}")
