"""Partitions of a stage dispatched to workers: a Prefect run for each span of them (flows.deployed.children).

The run that asks makes none itself, and looks for the partitions when its children are over (tasks.partitions).
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from prefect.client.schemas.objects import FlowRun

from taskdistill.configs.places import portable
from taskdistill.configs.runtime import RuntimeConfig
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
        asking = Asking(store, ref, SPAN_DEPLOYMENT, stopped)

        def ask(numbers: Sequence[int]) -> list[FlowRun]:
            request = request_of(step, ref, runtime)
            return [
                asking.start(f"{step.stage.name} {ref.short} {span_name(span)}", request | {"numbers": list(span)})
                for span in cut(numbers, runtime.fan_out)
            ]

        def dispatch(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
            asking.have_made(missing, ask, still_missing)

        return dispatch

    return dispatch_for


def request_of(step: PlannedStep, ref: ArtifactRef, runtime: RuntimeConfig) -> dict[str, Any]:
    """Return what a worker must know of a step, of whose artifact it makes a part or the whole."""
    return {
        "stage": step.stage.name,
        "config": portable(step.config),
        "inputs": {role: str(source) for role, source in step.inputs.items()},
        "wanted": str(ref),
        "runtime": runtime.within(step.name).model_dump(mode="json"),
    }
