"""A study as a Prefect flow: what `taskdistill study` does, from the UI and by schedule.

All points are one graph, in which what several share is made once, by the scheduler that does a single run: in slots
here, and with `runtime.fan_out` by workers. Safe to retry: what is finished is taken from the store.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from taskdistill.flows.deployed.birds import draw_birds
from taskdistill.flows.deployed.forms import taking
from taskdistill.flows.deployed.short_form import filled_in
from taskdistill.flows.deployed.shown import ShownRun
from taskdistill.flows.deployed.study_form import StudyForm, asked_study
from taskdistill.flows.pipeline.study import plan_study, run_study
from taskdistill.flows.reports.study_files import folder_of, write_study
from taskdistill.flows.reports.study_in_ui import report_study
from taskdistill.flows.reports.study_latency import latencies_of
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.prefect_task import show_logs_in_ui


@flow(name="study", persist_result=False)
@taking(StudyForm)
def study(**sent: Any) -> State[dict[str, str]]:
    """Run a preset in many variants, each shared step once, and compare what comes out."""
    show_logs_in_ui()
    store, asked = ArtifactStore.from_env(), asked_study(filled_in(StudyForm, sent))
    for experiment in {point.experiment.data.path: point.experiment for point in asked.points}.values():
        draw_birds(experiment)
    planned = plan_study(asked.study, asked.points, store)
    # What is shown of a run is called by its experiment: here by the study.
    named = planned.plans[0].experiment.model_copy(update={"name": asked.study.name})
    with ShownRun(named, store) as shown:
        made = run_study(planned, store, shown.show_what_is_made, asked_by=shown.asked_by, elsewhere=shown.elsewhere)
    rows = StudyRows(made, store, latencies_of(made, store))
    folder = folder_of(asked.study, store)
    written = write_study(folder, rows, store, asked.command)
    report_study(rows, store, written)
    return shown.completed({stage["name"]: stage["reference"] for stage in made.stages})
