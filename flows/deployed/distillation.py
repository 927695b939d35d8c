"""The pipeline as a Prefect flow, with a short form and a long one: what `taskdistill run` does, from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from taskdistill.flows.deployed.birds import draw_birds
from taskdistill.flows.deployed.forms import taking
from taskdistill.flows.deployed.short_form import DistillationForm, LongForm, PresetForm, experiment_of, filled_in
from taskdistill.flows.deployed.shown import ShownRun
from taskdistill.flows.pipeline.rebuilding import check_rebuild
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.mlflow_runs import tell_mlflow
from taskdistill.flows.reports.page.ending import report_of_run
from taskdistill.flows.reports.prefect_ui import report_scores
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.prefect_task import show_logs_in_ui


def _run(form: PresetForm, rebuild_from: str) -> State[dict[str, str]]:
    """Return the reference of each step's artifact, by the name of the step, in the state that says what was done."""
    show_logs_in_ui()
    store, experiment = ArtifactStore.from_env(), experiment_of(form)
    draw_birds(experiment)
    extra = store.resolve(form.synthetic, "image-set") if form.synthetic else None
    if rebuild_from:
        check_rebuild(experiment, store, rebuild_from, synthetic=extra)
    with ShownRun(experiment, store) as shown:
        named: dict[str, Any] = {"asked_by": shown.asked_by, "elsewhere": shown.elsewhere}
        results, stages = run_plan(experiment, store, shown.show, synthetic=extra, **named)
    report = report_of_run(experiment, results, stages, store, f"the deployment distillation, preset {experiment.name}")
    report_scores(results, store, experiment.name, report)
    tell_mlflow(experiment, results, stages, store, report)
    return shown.completed({stage["name"]: stage["reference"] for stage in stages})


@flow(name="distillation", persist_result=False)
@taking(DistillationForm)
def distillation(**sent: Any) -> State[dict[str, str]]:
    """Run the whole pipeline of a preset, with the settings that people change from run to run."""
    form = filled_in(DistillationForm, sent)
    return _run(form, form.rebuild_from)


@flow(name="distillation-all-settings", persist_result=False)
@taking(LongForm)
def distillation_all_settings(**sent: Any) -> State[dict[str, str]]:
    """Run the whole pipeline of a preset, with any of its settings changed."""
    form = filled_in(LongForm, sent)
    return _run(form, form.rebuild_from)
