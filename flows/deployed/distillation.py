"""The pipeline as a Prefect flow, with a short form and a long one: what `taskdistill run` does, from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

from typing import Any

from prefect import flow

from configs.experiment import Experiment
from flows.deployed.birds import draw_birds
from flows.deployed.fan_out import over_workers
from flows.deployed.forms import taking
from flows.deployed.short_form import DistillationForm, LongForm, PresetForm, experiment_of, filled_in
from flows.pipeline.planning import PlannedStep
from flows.pipeline.rebuilding import check_rebuild
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


def _run(form: PresetForm, rebuild_from: str) -> dict[str, str]:
    """Return the reference of each step's artifact, by the name of the step."""
    show_logs_in_ui()
    store, experiment = ArtifactStore.from_env(), experiment_of(form)
    draw_birds(experiment)
    extra = store.resolve(form.synthetic, "image-set") if form.synthetic else None
    if rebuild_from:
        check_rebuild(experiment, store, rebuild_from, synthetic=extra)
    results, stages = run_plan(experiment, store, as_tasks(experiment), synthetic=extra)
    report_scores(results, store, experiment.name)
    return {stage["name"]: stage["reference"] for stage in stages}


@flow(name="distillation", persist_result=False)
@taking(DistillationForm)
def distillation(**sent: Any) -> dict[str, str]:
    """Run the whole pipeline of a preset, with the settings that people change from run to run."""
    form = filled_in(DistillationForm, sent)
    return _run(form, form.rebuild_from)


@flow(name="distillation-all-settings", persist_result=False)
@taking(LongForm)
def distillation_all_settings(**sent: Any) -> dict[str, str]:
    """Run the whole pipeline of a preset, with any of its settings changed."""
    form = filled_in(LongForm, sent)
    return _run(form, form.rebuild_from)
