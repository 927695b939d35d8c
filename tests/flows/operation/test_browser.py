"""The page of what `taskdistill up` started, used as people use it: by reading, typing and clicking."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.stages import PrecomputeConfig
from taskdistill.configs.study_loading import Given, load_study, points_of
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage import upkeep
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import PRECOMPUTE
from tests.conftest import Bench
from tests.flows.browser import Page, browser, missing_program
from tests.flows.conftest import quietly, when_made
from tests.flows.deployed.test_fan_out import children
from tests.flows.local_server import Served, refill, until
from tests.storage.artifacts import flip_a_bit

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.skipif(missing_program() != "", reason=f"{missing_program()} is not installed"),
]

END_SECONDS = 600.0


@pytest.fixture(scope="module")
def page(server: dict[str, str], password: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, after the password was given."""
    with browser(server["PREFECT_API_URL"].removesuffix("/api"), tmp_path_factory.mktemp("browser")) as page:
        page.log_in(password)
        yield page


def made(experiment: Experiment, store: ArtifactStore) -> dict[str, ArtifactRef]:
    return {step.name: step.ref for step in make_plan(experiment, store).steps}


TYPED = {"preset": "four-epochs", "temperature": 3, "epochs": 2}


@pytest.fixture(scope="module")
def typed(four_epochs: Experiment) -> Experiment:
    """What TYPED means. The first test that needs it finished finishes it for the others."""
    distill = four_epochs.distill.model_copy(update={"temperature": 3.0})
    training = four_epochs.training.model_copy(update={"epochs": 2})
    return four_epochs.model_copy(update={"distill": distill, "training": training})


def runs_of(served: Served, deployment: str) -> list[Any]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    found = served.client.read_deployment_by_name(deployment).id
    runs: list[Any] = served.client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found]))
    )
    return runs


def end_schedules(served: Served, deployment: str) -> None:
    """Remove what makes runs, and wait for those that it made."""
    found = served.client.read_deployment_by_name(deployment)
    for schedule in found.schedules:
        served.client.delete_deployment_schedule(found.id, schedule.id)
    until(lambda: all(run.state.is_final() for run in runs_of(served, deployment)), seconds=END_SECONDS, log=served.log)


def submit(page: Page, served: Served, deployment: str) -> Any:
    """Submit the form, and wait for the end of the run that this made."""
    before = {run.id for run in runs_of(served, deployment)}

    def new() -> list[UUID]:
        return [run.id for run in runs_of(served, deployment) if run.id not in before]

    page.click("Submit")
    (run_id,) = until(new, seconds=END_SECONDS, log=served.log)
    return served.finish(run_id)


def test_the_short_form_filled_in_becomes_a_run_with_its_scores_and_pictures(
    page: Page, served: Served, typed: Experiment
) -> None:
    page.open_form("distillation")
    page.choose("preset", "four-epochs")
    page.type("temperature", "3")
    page.type("epochs", "2")
    run = submit(page, served, "distillation/distillation")
    assert run.state.name == "Completed", run.state.message
    assert set(made(typed, served.store).values()) <= set(served.store.references())

    page.open_run(run.id, "Artifacts")
    page.read("\nCompleted\n")
    page.read("four-epochs shapes seed 0")  # what the form had invented for a name is gone
    page.open_report("scores-four-epochs")
    page.read("student distilled")
    page.read("SE: standard error")
    page.open_run(run.id, "Artifacts")
    page.open_report("pictures-distill-seed0-history")
    assert page.width_of_picture() > 100


@pytest.mark.nightly
def test_a_study_typed_into_its_form_is_done_by_workers_and_its_table_is_on_the_page(
    page: Page, served: Served, preset: str, tmp_path: Path
) -> None:
    study = tmp_path / "heat.yaml"
    study.write_text(f"study: 1\nname: heat\npreset: {preset}\nsweep: {{distill.temperature: [1, 2]}}\n")
    page.open_form("study")
    page.type("study", str(study))
    page.add("sweep", "distill.temperature=5,6")
    page.add("overrides", "runtime.fan_out=2")
    run = submit(page, served, "study/study")
    assert run.state.name == "Completed", run.state.message

    points = points_of(load_study(str(study), Given(sweeps=["distill.temperature=5,6"])))
    students = [made(point.experiment, served.store)["distill-seed0"] for point in points]
    assert [child.state.name for ref in students for child in children(served.client, ref)] == ["Completed"] * 2
    page.open_run(run.id, "Artifacts")
    page.open_report("study-heat")
    page.read("student distilled")
    page.read("more than chance")


def test_a_wrong_value_is_refused_in_the_form_and_makes_no_run(page: Page, served: Served) -> None:
    before = runs_of(served, "distillation/distillation")
    page.open_form("distillation")
    page.type("temperature", "-1")
    page.click("Submit")
    page.read("\n'a number from 0.001 to 10000, or 0 for that of the preset' was expected\n")
    assert len(runs_of(served, "distillation/distillation")) == len(before)

    page.open_form("distillation")
    page.add("overrides", "distill.alhpa=0.5")
    page.click("Submit")
    page.read("\n'a line such as distill.alpha=0.5, which begins with the name of a setting' was expected\n")
    assert len(runs_of(served, "distillation/distillation")) == len(before)


@pytest.mark.nightly
def test_a_schedule_added_on_the_page_makes_runs_that_complete(page: Page, served: Served, typed: Experiment) -> None:
    page.open_deployment("batch")
    page.click("Schedule")
    dialog = page.dialog()
    dialog.type("Value", "10")
    dialog.choose("Interval", "Seconds")
    dialog.click("Add item")
    dialog.choose("preset", "four-epochs")
    dialog.type("temperature", "3")
    dialog.type("epochs", "2")
    dialog.click("Save")
    page.read("Every 10 seconds")

    def completed() -> list[Any]:
        return [run for run in runs_of(served, "batch/batch") if run.auto_scheduled and run.state.is_completed()]

    until(lambda: len(completed()) >= 2, seconds=END_SECONDS, log=served.log)
    end_schedules(served, "batch/batch")
    assert set(made(typed, served.store).values()) <= set(served.store.references())
    page.open_run(completed()[-1].id, "Artifacts")
    page.open_report("batch-summary")
    page.read("1 of 1 runs completed.")


@pytest.mark.nightly
def test_retry_clicked_on_a_failed_run_does_not_repeat_the_steps_that_were_finished(
    page: Page, served: Served, typed: Experiment
) -> None:
    store, wanted = served.store, made(typed, served.store)
    run_plan(typed, store, quietly(typed, store))
    upkeep.discard(store, wanted["evaluate-teacher"])  # so that there is work before the failure
    upkeep.discard(store, wanted["evaluate-distilled-seed0"])
    broken = wanted["distill-seed0"]
    flip_a_bit(store.path(broken) / "best.safetensors")
    run_id = served.start("distillation/distillation", TYPED)
    assert served.finish(run_id).state.name == "Failed"
    before = when_made(store)
    assert wanted["evaluate-teacher"] in before
    assert upkeep.discard(store, broken, with_dependents=True) == [broken]

    page.open_run(run_id)
    page.read("\nFailed\n")
    page.click("Open menu")
    page.click("Retry")
    page.dialog().click("Retry")

    def has_run_twice() -> Any:
        run = served.client.read_flow_run(run_id)
        return run if run.run_count == 2 and run.state.is_final() else None

    retried = until(has_run_twice, seconds=END_SECONDS, log=served.log)
    assert retried.state.name == "Completed", retried.state.message
    after = when_made(store)
    assert set(wanted.values()) <= set(after)
    assert {ref: after[ref] for ref in before if ref != broken} == {ref: before[ref] for ref in before if ref != broken}
    page.open_run(run_id, "Details")
    page.read("13 steps: 11 reused")


@pytest.mark.nightly
def test_a_single_stage_reads_the_artifact_that_a_label_names(
    page: Page, served: Served, finished_bench: Bench
) -> None:
    bench = finished_bench._replace(store=served.store)
    refill(served.store, finished_bench.store)
    other = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.student_features, probe=bench.student_probe)
    assert other != bench.logits
    served.store.label("logits-of-the-student", other)
    page.open_form("stage-distill")
    page.choose("preset", "four-epochs")
    page.type("epochs", "2")
    page.add("inputs", "logits=logits-of-the-student")
    run = submit(page, served, "distill/stage-distill")
    assert run.state.name == "Completed", run.state.message
    (model,) = [ref for ref in served.store.references() if ref.kind == "model"]
    assert served.store.manifest(model).input_refs["logits"] == other
