"""The pipeline as one Prefect flow: what `taskdistill run` does, started, watched and retried from the UI.

Safe to retry or to start again with the same parameters: finished artifacts are taken from the store, an unfinished
one is continued. Nothing here knows which is the case.
"""

import re

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from configs.experiment import Experiment
from flows.planning import Step
from flows.results import score_markdown
from flows.running import DoStep, origin_of, run_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.prefect_task import as_task, show_logs_in_ui


def as_tasks(experiment: Experiment) -> DoStep:
    """Return the way flows do a step: as a task run of its own, named after the step."""
    show_logs_in_ui()
    origin = origin_of(experiment)

    def do(step: Step) -> ArtifactRef:
        return as_task(step.stage)(step.name, step.config, step.inputs, experiment.runtime, origin)

    return do


@flow(name="distillation", persist_result=False)
def distillation(experiment: Experiment = Experiment(), synthetic: str = "") -> dict[str, str]:  # noqa: B008
    """Run the whole pipeline, doing only what is missing; the scores become a report.

    `synthetic` is a label or reference of an image-set without labels. Returns the reference of each step's artifact.
    """
    store = ArtifactStore.from_env()
    extra = store.resolve(synthetic, "image-set") if synthetic else None
    results, stages = run_plan(experiment, store, as_tasks(experiment), synthetic=extra)
    create_markdown_artifact(
        score_markdown(results, store, experiment.name),
        key=f"scores-{re.sub('[^a-z0-9]+', '-', experiment.name).strip('-')}",
        description=f"Scores of {experiment.name}",
    )
    return {stage["name"]: stage["reference"] for stage in stages}
