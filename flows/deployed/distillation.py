"""The pipeline as one Prefect flow: what `taskdistill run` does, started, watched and retried from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

from prefect import flow

from configs.experiment import Experiment
from flows.deployed.fan_out import over_workers
from flows.deployed.served_settings import SentExperiment, whole_experiment
from flows.pipeline.planning import Step
from flows.pipeline.running import DoStep, experiment_settings_of, run_plan
from flows.reports.prefect_ui import report_pictures, report_scores
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.prefect_task import as_task, show_logs_in_ui


def as_tasks(experiment: Experiment) -> DoStep:
    """Return the way flows do a step: as a task run of its own, named after the step."""
    show_logs_in_ui()
    experiment_settings, store, runtime = (
        experiment_settings_of(experiment),
        ArtifactStore.from_env(),
        experiment.runtime,
    )

    def do(step: Step) -> ArtifactRef:
        task = as_task(step.stage, over_workers(step, store, runtime))
        ref = task(step.name, step.config, step.inputs, runtime, experiment_settings)
        report_pictures(step, ref, store)
        return ref

    return do


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
