"""How a run shows itself on the Prefect server: by its name, by a task run for each step, by a table of them, and by
what its last state says.

The store knows of it too: manifests name the run that made an artifact, and the table names the artifact of each step.
"""

import logging
import re
import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed
from prefect.utilities.urls import url_for

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.deployed.fan_out import over_workers
from taskdistill.flows.deployed.whole_steps import TRAINING, WholeSteps, by_workers
from taskdistill.flows.ending.os_errors import SystemFaultError, explained
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import AskedBy, ExecuteStep, noted_of
from taskdistill.flows.reports.prefect_ui import report_pictures, report_steps
from taskdistill.flows.reports.steps import (
    NOT_FINISHED,
    REUSED,
    ShownStep,
    are_all_reused,
    in_words,
    is_reused,
    maker,
    run_name,
    what_was_done,
)
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.prefect_task import as_task, show_logs_in_ui
from taskdistill.tasks.stage import OnProgress, execute, no_progress

log = logging.getLogger(__name__)

INVENTED = re.compile(r"[a-z]+-[a-z]+|[A-Z][a-z]+-[A-Z]\w{1,5}")
"""How Prefect names a run that nobody has named: the server fantastic-swan, the form of its page Fantastic-Swan, whose
animals have six letters at most.
"""
ALL_REUSED = " (all reused)"


class ShownRun:
    """A run of a flow as it is seen; used as a context around its work, at whose end the table of steps is written,
    also where a step failed.
    """

    def __init__(self, experiment: Experiment, store: ArtifactStore) -> None:
        self._experiment, self._store = experiment, store
        context = FlowRunContext.get()
        self._run = context.flow_run if context else None
        self._steps: list[ShownStep] = []
        self._over = threading.Event()
        self._runtime = experiment.runtime
        self.elsewhere = by_workers(experiment.runtime)._replace(told=self._work_as)
        """The steps that workers do."""

    def __enter__(self) -> Self:
        show_logs_in_ui()
        # Names that a person gave, or an earlier attempt, stay.
        if self._run and INVENTED.fullmatch(self._run.name):
            self._rename(run_name(self._experiment))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()  # threads that wait for workers would keep this process from ending
        # A run that is being ended, as by Cancel, has no time for it.
        if self._steps and (error is None or isinstance(error, Exception)):
            report_steps(self._steps, self._store, self._experiment.name)
        if isinstance(error, OSError) and (words := explained(error)):
            raise SystemFaultError(words) from error  # the last state of the run says what it says

    @property
    def asked_by(self) -> AskedBy:
        """What manifests say of this run; nothing where it is known to no server."""
        if self._run is None:
            return {}
        context, page = FlowRunContext.get(), url_for("flow-run", obj_id=self._run.id)
        flow = context.flow.name if context and context.flow else ""
        return {"name": self._run.name, "flow": flow, "id": str(self._run.id), "page": page or ""}

    def show(self, step: PlannedStep, execute_step: ExecuteStep) -> ArtifactRef:
        """Have a step done as a task run of its own, named after it, with reports of the pictures it drew."""
        began, what = time.monotonic(), NOT_FINISHED
        execute_it = self._by_workers if self.elsewhere.takes(step) else execute_step

        def make(on_progress: OnProgress) -> ArtifactRef:
            return execute_it(step, on_progress)

        def words(ref: ArtifactRef) -> str:
            nonlocal what
            made = self._store.manifest(ref)
            what = what_was_done(step, made, self.asked_by.get("id", ""))
            return f"{what}: {ref.short}{f', made by {maker(made.provenance)}' if what.startswith('reused') else ''}"

        ref = step.ref
        try:
            ref = as_task(step.stage, words)(step.name, make)
        finally:
            shown = ShownStep(step.name, what, time.monotonic() - began, ref)
            self._steps.append(shown)  # other steps may do so just now, in other threads
        # Those of a reused artifact are with the run that made it, which the table names.
        if not is_reused(shown):
            report_pictures(step, ref, self._store)
        return ref

    def show_what_is_made(self, step: PlannedStep, execute_step: ExecuteStep) -> ArtifactRef:
        """The same, with no task run for a step that is there, of which a study has hundreds; the table has it."""
        if step.action != "have":
            return self.show(step, execute_step)
        ref = execute_step(step, no_progress)
        if ref not in {one.ref for one in self._steps}:  # such as made in the first rung of the same study
            self._steps.append(ShownStep(step.name, REUSED, 0.0, ref))
        return ref

    def _work_as(self, runtime: RuntimeConfig) -> None:
        self._runtime = runtime

    def _by_workers(self, step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        """Have workers do a step, whole or in parts. Who only waits for them needs no process of its own."""
        runtime = self._runtime
        noted = noted_of(step, self.asked_by)
        if step.stage in TRAINING:
            return WholeSteps(self._store, runtime, noted, self._over).execute(step, on_progress)
        dispatch = over_workers(step, self._store, runtime, self._over)
        named: dict[str, Any] = {"runtime": runtime, "noted": noted, "store": self._store}
        return execute(step.stage, step.config, step.inputs, on_progress=on_progress, dispatch=dispatch, **named)

    def completed(self, answer: Any) -> State[Any]:
        """Return the last state of a run that did all its steps: it says what was done, and so does the name of a run
        that had nothing to do.
        """
        said = in_words(self._steps)
        log.info("%s", said)
        if self._run and are_all_reused(self._steps) and not self._run.name.endswith(ALL_REUSED):
            self._rename(f"{self._run.name}{ALL_REUSED}")
        return Completed(message=said, data=answer)

    def _rename(self, name: str) -> None:
        assert self._run
        try:
            with get_client(sync_client=True) as client:
                client.update_flow_run(self._run.id, name=name)
        except httpx.HTTPError as error:  # a name is not worth a run
            log.warning("the run could not be named %r (%s)", name, error)
        else:
            self._run.name = name
