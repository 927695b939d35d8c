"""The flows on a real Prefect server on this machine. What becomes of runs that something happens to is the matter of
tests/flows/operation/test_fault_matrix.py.

One `taskdistill up` for the whole file. The pipeline runs through its worker, as from the UI; the single stages run as
flows of this process against the same server, which spares importing torch thirty times.
"""

import re
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.storage import upkeep
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from tests.flows.conftest import as_overrides, when_made
from tests.flows.local_server import Served

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

ALL_SETTINGS = "distillation-all-settings/distillation-all-settings"


def artifacts_of(experiment: Experiment, store: ArtifactStore) -> dict[str, ArtifactRef]:
    return {step.name: step.ref for step in make_plan(experiment, store).steps}


# --- the whole pipeline --------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_with_two_slots_two_task_runs_are_in_progress_at_the_same_time(served: Served, experiment: Experiment) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    wanted = _in_two_slots(experiment)
    run_id = served.start(ALL_SETTINGS, {"experiment": experiment_settings_of(wanted)})
    run = served.finish(run_id)
    assert run.state.name == "Completed", run.state.message
    assert set(served.tasks(run_id).values()) == {"Completed"}
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    runs = {task.name: task for task in served.client.read_task_runs(flow_run_filter=chosen)}
    one, other = runs["finetune-seed5"], runs["distill-seed5"]
    assert max(one.start_time, other.start_time) < min(one.end_time, other.end_time)
    _check_report(served, run_id, artifacts_of(wanted, served.store)["distill-seed5"])


def _check_report(served: Served, run_id: UUID, student: ArtifactRef) -> None:
    """The scores are a report of the run, under the experiment's name."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    key, of_run = ArtifactFilterKey(any_=["scores-shapes"]), ArtifactFilterFlowRunId(any_=[run_id])
    (report,) = served.client.read_artifacts(artifact_filter=ArtifactFilter(key=key, flow_run_id=of_run))
    assert f"- student distilled, seed 5: `{student}`" in report.data
    assert "| student probed | test |" in report.data
    assert "SE: standard error" in report.data
    assert "    48 images of 3 classes: train 24, val 12, test 12" in report.data
    [page] = re.findall(r"Charts, mistakes and all else: `(.*?)`", report.data)
    assert Path(page).parent == served.store.root / "reports"
    assert "<h2>Verdict</h2>" in Path(page).read_text(encoding="utf-8")


def _in_two_slots(experiment: Experiment) -> Experiment:
    runtime = experiment.runtime.model_copy(update={"slots": 2})
    # Longer than a process takes to begin: the second may have to be started for its step.
    training = experiment.training.model_copy(update={"epochs": 100})
    return experiment.model_copy(update={"seeds": (5,), "runtime": runtime, "training": training})


def test_what_the_form_refuses_makes_no_run(served: Served) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    parameters = {"experiment": {"distill": {"alpha": 2}}}
    with pytest.raises(PrefectHTTPStatusError) as caught:
        served.start(ALL_SETTINGS, parameters)
    assert "'experiment.distill.alpha'. Failure reason: 'a number from 0 to 1' was expected" in str(caught.value)


def test_what_no_form_can_know_fails_the_run_at_once_in_the_words_of_the_command_line(client: Any) -> None:
    from taskdistill.flows.deployed.distillation import distillation

    state = distillation(overrides=["training.batch_size=x"], return_state=True)
    assert state.is_failed()
    assert "training.batch_size: expected a whole number from 1 to 1000000, found 'x'" in state.message


# --- single stages -------------------------------------------------------------------------------------------------


def run_here(name: str, store: ArtifactStore, experiment: Experiment, *inputs: str) -> Any:
    """Run the flow of one stage in this process; returns its state, as the server has it."""
    from prefect.client.orchestration import get_client

    from taskdistill.flows.deployed.single_stage import FLOWS

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKDISTILL_STORE", str(store.root))
        state = FLOWS[name](overrides=as_overrides(experiment), inputs=list(inputs), return_state=True)
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id).state


@pytest.fixture
def emptied(complete: ArtifactStore, tmp_path: Path) -> ArtifactStore:
    """A copy of a store in which the experiment is finished with either kind of teacher, and with blends."""
    shutil.copytree(complete.root, tmp_path / "store")
    return ArtifactStore(tmp_path / "store")


PART_OF = {"precompute-images": "with_finetuned_teacher"} | dict.fromkeys(
    ["embed", "generate", "select"], "with_blends"
)
"""Stage -> the experiment that has a step for it, where it is not the plain one."""
ELSEWHERE = {
    "probe-images", "precompute-probed", "combine", "tune-finetune", "tune-distill", "ingest-unlabelled",
    "precompute-foreign", "evaluate-probed",
}  # fmt: skip
"""Stages of no experiment here, to Prefect like any other (tests/contracts/test_dense_problem.py and
tests/flows/pipeline/{test_teachers,test_tuned_run,test_label_free}.py run them).
"""


@pytest.mark.parametrize("name", [stage.name for stage in STAGES if stage.inputs and stage.name not in ELSEWHERE])
def test_a_stage_fails_while_its_input_is_missing_then_builds_its_artifacts_and_then_nothing(
    client: Any, name: str, request: pytest.FixtureRequest, emptied: ArtifactStore
) -> None:
    wanted: Experiment = request.getfixturevalue(PART_OF.get(name, "experiment"))
    there = {step.ref for step in make_plan(wanted, emptied).steps if step.stage.name == name}
    for ref in there & set(emptied.references()):
        upkeep.discard(emptied, ref, with_dependents=True)
    # Named anew: features of the bench hold more than is asked for, and are taken while they or their heads are there.
    steps = [step for step in make_plan(wanted, emptied).steps if step.stage.name == name]
    own = {step.ref for step in steps}
    source = next(iter(steps[0].inputs.values()))
    hidden = emptied.path(source).rename(emptied.root / "hidden")

    failed = run_here(name, emptied, wanted)
    assert failed.name == "Failed"
    assert f"{source.short}), which is not in the store" in failed.message

    hidden.rename(emptied.root / "artifacts" / source.kind / source.fingerprint)
    before = when_made(emptied)
    assert run_here(name, emptied, wanted).name == "Completed"
    after = when_made(emptied)
    assert set(after) - set(before) == own
    assert {ref: after[ref] for ref in before} == before

    assert run_here(name, emptied, wanted).name == "Completed"
    assert when_made(emptied) == after


def test_ingest_fails_on_a_broken_image_then_succeeds_without_it_and_then_builds_nothing(
    client: Any, experiment: Experiment, shapes_folder: Path, store: ArtifactStore, tmp_path: Path
) -> None:
    folder = tmp_path / "shapes"
    shutil.copytree(shapes_folder, folder)
    broken = folder / "train" / "disc" / "broken.png"
    broken.write_bytes((folder / "train" / "disc" / "000.png").read_bytes()[:200])
    here = experiment.model_copy(update={"data": experiment.data.model_copy(update={"path": str(folder)})})

    failed = run_here("ingest", store, here)
    assert failed.name == "Failed"
    assert "1 of 49 files cannot be used" in failed.message

    broken.unlink()
    assert run_here("ingest", store, here).name == "Completed"
    after = when_made(store)
    assert list(after) == [artifacts_of(here, store)["ingest"]]
    assert run_here("ingest", store, here).name == "Completed"
    assert when_made(store) == after


def test_a_stage_takes_another_input_by_its_label(
    client: Any, experiment: Experiment, with_finetuned_teacher: Experiment, emptied: ArtifactStore
) -> None:
    other = artifacts_of(with_finetuned_teacher, emptied)
    emptied.label("finetuned-teacher", other["precompute"])
    upkeep.discard(emptied, other["distill-seed0"], with_dependents=True)
    assert run_here("distill", emptied, experiment, "logits=finetuned-teacher").name == "Completed"
    assert other["distill-seed0"] in emptied


def test_work_that_takes_longer_shows_its_progress_and_ends_at_100(
    client: Any, experiment: Experiment, emptied: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    monkeypatch.setattr("taskdistill.tasks.prefect_task.PROGRESS_SECONDS", 0.0)
    upkeep.discard(emptied, artifacts_of(experiment, emptied)["finetune-seed0"], with_dependents=True)
    state = run_here("finetune", emptied, experiment)
    assert state.name == "Completed"
    of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    chosen = ArtifactFilter(key=ArtifactFilterKey(any_=["progress-finetune-seed0"]), flow_run_id=of_run)
    (progress,) = client.read_artifacts(artifact_filter=chosen)
    assert (progress.data, progress.description) == (100.0, "finetune-seed0: done")


def test_the_pictures_that_a_stage_drew_become_reports(
    client: Any, experiment: Experiment, emptied: ArtifactStore
) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    model = artifacts_of(experiment, emptied)["finetune-seed0"]
    upkeep.discard(emptied, model, with_dependents=True)
    state = run_here("finetune", emptied, experiment)
    assert state.name == "Completed"
    # Other runs on this server made the same step, and its reports have one key.
    of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    key = ArtifactFilterKey(any_=["pictures-finetune-seed0-history"])
    chosen = ArtifactFilter(key=key, flow_run_id=of_run)
    (report,) = client.read_artifacts(artifact_filter=chosen)
    assert report.data.startswith(f"# finetune-seed0: {model}\n\n![history.png](data:image/png;base64,")
