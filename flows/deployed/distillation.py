"""The pipeline as one Prefect flow: what `taskdistill run` does, started, watched and retried from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

from typing import Any

from prefect import flow

from configs.experiment import Experiment
from flows.deployed.fan_out import over_workers
from flows.deployed.served_settings import SentExperiment, whole_experiment
from flows.pipeline.planning import PlannedStep
from flows.pipeline.running import ExecuteStep, ShowStep, experiment_settings_of, run_plan
from flows.reports.prefect_ui import report_pictures, report_scores
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.prefect_task import as_task, show_logs_in_ui
from tasks.stage import OnProgress
from tasks.stage import execute as execute_here


def as_tasks(experiment: Experiment) -> ShowStep:
    """Return the way flows do a step: as a task run of its own, named after the step, with a report of its pictures."""
    show_logs_in_ui()
    store, settings = ArtifactStore.from_env(), experiment_settings_of(experiment)

    def show(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        dispatch = over_workers(step, store, experiment.runtime)

        def make(on_progress: OnProgress) -> ArtifactRef:
            if not dispatch:
                return execute(step, on_progress)
            # Who only waits for workers needs no process of its own.
            named: dict[str, Any] = {"runtime": experiment.runtime, "experiment_settings": settings}
            asked = (step.stage, step.config, step.inputs)
            return execute_here(*asked, store=store, on_progress=on_progress, dispatch=dispatch, **named)

        ref = as_task(step.stage)(step.name, make)
        report_pictures(step, ref, store)
        return ref

    return show


@flow(name="distillation", persist_result=False)
def distillation(experiment: SentExperiment = Experiment(), synthetic: str = "") -> dict[str, str]:  # noqa: B008
    """Run the whole pipeline, doing only what is missing; the scores become a report.

    `experiment` may name some settings only: the others are those the deployment was served with. `synthetic` is a
    label or reference of an image-set without labels. Returns the reference of each step's artifact.
    """
    store, settings = ArtifactStore.from_env(), whole_experiment(experiment)
    extra = store.resolve(synthetic, "image-set") if synthetic else None
    results, stages = run_plan(settings, store, as_tasks(settings), synthetic=extra)
    report_scores(results, store, settings.name)
    return {stage["name"]: stage["reference"] for stage in stages}
