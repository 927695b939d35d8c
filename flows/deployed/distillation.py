"""The pipeline as one Prefect flow: what `taskdistill run` does, started, watched and retried from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from configs.experiment import Experiment
from flows.deployed.served_settings import SentExperiment, whole_experiment
from flows.deployed.shown import ShownRun
from flows.pipeline.running import run_plan
from flows.reports.prefect_ui import report_scores
from storage.store import ArtifactStore


@flow(name="distillation", persist_result=False)
def distillation(experiment: SentExperiment = Experiment(), synthetic: str = "") -> State[dict[str, str]]:  # noqa: B008
    """Run the whole pipeline, doing only what is missing; the scores become a report.

    `experiment` may name some settings only: the others are those the deployment was served with. `synthetic` is a
    label or reference of an image-set without labels. Returns the reference of each step's artifact, within the state
    that says what was done.
    """
    store, settings = ArtifactStore.from_env(), whole_experiment(experiment)
    extra = store.resolve(synthetic, "image-set") if synthetic else None
    with ShownRun(settings, store) as shown:
        results, stages = run_plan(settings, store, shown.show, synthetic=extra, asked_by=shown.asked_by)
    report_scores(results, store, settings.name)
    return shown.completed({stage["name"]: stage["reference"] for stage in stages})
