"""Steps that workers do as a whole, several of a run at once: a Prefect run for each (flows.deployed.children).

Those that train: they take long, and none of them can be made in parts. What is short, such as scoring a model or
looking through folders, is done by the run itself: a worker would take longer to begin.
"""

import threading
from typing import Any

from prefect.client.schemas.objects import FlowRun

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.deployed.children import MAX_ATTEMPTS, WHOLE, Asking
from taskdistill.flows.deployed.fan_out import request_of
from taskdistill.flows.deployed.server import STEP_DEPLOYMENT
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.process_pool import StepError, StepKilledError
from taskdistill.flows.pipeline.scheduling import NOWHERE, Elsewhere
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import DISTILL, FINETUNE, PROBE, PROBE_IMAGES, TUNE_DISTILL, TUNE_FINETUNE
from taskdistill.tasks.partitions import is_of_partitions
from taskdistill.tasks.stage import OnProgress, content_digests_of

TRAINING = (PROBE, PROBE_IMAGES, TUNE_FINETUNE, TUNE_DISTILL, FINETUNE, DISTILL)


def by_workers(runtime: RuntimeConfig) -> Elsewhere:
    """Return which steps a run has workers do, whole or in parts; none where it is to do all by itself."""
    if runtime.fan_out == 1:
        return NOWHERE

    def takes(step: PlannedStep) -> bool:
        return step.action != "have" and (step.stage in TRAINING or is_of_partitions(step.stage))

    return Elsewhere(runtime.fan_out, takes)


class WholeSteps:
    """Has steps done by workers for one run."""

    def __init__(
        self, store: ArtifactStore, runtime: RuntimeConfig, noted: dict[str, Any], stopped: threading.Event
    ) -> None:
        self._store, self._runtime, self._noted, self._stopped = store, runtime, noted, stopped

    def execute(self, step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        """Have a worker do a step that is not in the store yet; returns its artifact.

        Raises StepError where the step failed, StepKilledError where worker after worker died of it, and ServerError
        where none is online.
        """
        ref = step.stage.reference(step.config, step.inputs, content_digests_of(step.config, self._store))

        def still_missing() -> list[int]:
            if progress := self._store.progress(ref):
                on_progress(progress["unit"], progress["done"], progress["total"])
            return [] if ref in self._store else list(WHOLE)

        if not still_missing():
            return ref
        asking = Asking(self._store, ref, STEP_DEPLOYMENT, self._stopped)
        children = asking.have_made(WHOLE, lambda units: [self._ask(asking, step, ref)], still_missing)
        if ref in self._store:
            return ref
        state, name = children[-1].state, children[-1].run.name
        if state and state.is_crashed():
            raise StepKilledError(
                f"{step.name} is not there: the workers that were at it died, {MAX_ATTEMPTS} times in this run, the "
                f"last in the run {name!r}, which says more; run the same again, and it continues where it was"
            )
        if state and state.is_completed():
            raise StepError(
                f"{step.name} is not in the store {self._store.root}, though the run {name!r} has made it: its worker "
                "uses another store, or somebody removed it"
            )
        how = f"is {state.name}: {state.message}" if state else "was deleted"
        raise StepError(f"{step.name} is not there: the run {name!r} of a worker {how}")

    def _ask(self, asking: Asking, step: PlannedStep, ref: ArtifactRef) -> FlowRun:
        request = {"step_name": step.name, "noted": self._noted, **request_of(step, ref, self._runtime)}
        return asking.start(f"{step.name} {ref.short}", request)
