"""Partitions of a stage dispatched to workers: a Prefect run for each span of them (flows.deployed.children).

The run that asks makes none itself, and looks for the partitions when its children are over (tasks.partitions).
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from taskdistill.configs.base import RuntimeConfig
from taskdistill.configs.places import portable
from taskdistill.flows.deployed.children import Asking
from taskdistill.flows.deployed.server import SPAN_DEPLOYMENT
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.partitions import cut, span_name
from taskdistill.tasks.stage import Dispatch


def over_workers(
    step: PlannedStep, store: ArtifactStore, runtime: RuntimeConfig, stopped: threading.Event
) -> Callable[[ArtifactRef], Dispatch]:
    """Return what dispatches the partitions of a step to `runtime.fan_out` workers, until `stopped`. What is returned
    raises ServerError where no worker is online.
    """

    def dispatch_for(ref: ArtifactRef) -> Dispatch:
        def ask(numbers: Sequence[int]) -> list[FlowRun]:
            return [_ask(request_of(step, ref, runtime), span) for span in cut(numbers, runtime.fan_out)]

        def dispatch(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
            Asking(store, ref, SPAN_DEPLOYMENT, stopped).have_made(missing, ask, still_missing)

        return dispatch

    return dispatch_for


def request_of(step: PlannedStep, ref: ArtifactRef, runtime: RuntimeConfig) -> dict[str, Any]:
    """Return what a worker must know of a step, of whose artifact it makes a part or the whole."""
    return {
        "stage": step.stage.name,
        "config": portable(step.config),
        "inputs": {role: str(source) for role, source in step.inputs.items()},
        "wanted": str(ref),
        "runtime": runtime.model_dump(mode="json"),
    }


def _ask(request: dict[str, Any], numbers: Sequence[int]) -> FlowRun:
    ref = ArtifactRef.parse(request["wanted"])
    run = run_deployment(
        SPAN_DEPLOYMENT,
        parameters=request | {"numbers": list(numbers)},
        flow_run_name=f"{request['stage']} {ref.short} {span_name(numbers)}",
        tags=[str(ref)],  # by which a later attempt finds it
        timeout=0,  # returns as soon as the run is scheduled
    )
    return cast(FlowRun, run)
