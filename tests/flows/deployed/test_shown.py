"""How a run is seen on the server: by its name, the table of its steps, and what its last state says."""

import json
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
from tests.flows.conftest import call
from tests.flows.local_server import until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture
def store(finished: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """A store with the experiment finished, for the flows of this process."""
    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    return finished


@pytest.fixture
def made(experiment: Experiment, store: ArtifactStore) -> dict[str, ArtifactRef]:
    return {step.name: step.ref for step in make_plan(experiment, store).steps}


def done(client: Any, experiment: Experiment) -> Any:
    """Run the pipeline in this process; returns the run, as the server has it."""
    from taskdistill.flows.deployed.distillation import distillation_all_settings

    state = distillation_all_settings(experiment=experiment_settings_of(experiment), return_state=True)
    return client.read_flow_run(state.state_details.flow_run_id)


def table(client: Any, run: UUID) -> list[dict[str, Any]]:
    """The table of steps of a run."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=["table"]))
    (found,) = client.read_artifacts(artifact_filter=chosen)
    rows: list[dict[str, Any]] = json.loads(found.data)
    return rows


def test_a_run_that_finds_everything_says_so_in_its_name_its_state_and_its_table(
    client: Any, experiment: Experiment, store: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    run = done(client, experiment)
    assert run.name == f"shapes {Path(experiment.data.path).name} seed 0 (all reused)"
    assert (run.state.name, run.state.message) == ("Completed", f"All {len(made)} steps reused: nothing had to be made")
    rows = table(client, run.id)
    assert {row["step"]: row["reference"] for row in rows} == {name: str(ref) for name, ref in made.items()}
    assert {row["what"] for row in rows} == {"reused"}


def test_a_run_says_what_it_made_and_the_store_says_which_run_made_it(
    client: Any, experiment: Experiment, store: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    student = made["distill-seed0"]
    upkeep.discard(store, student, with_dependents=True)
    run = done(client, experiment)
    assert run.name == f"shapes {Path(experiment.data.path).name} seed 0"
    assert run.state.message.startswith(f"{len(made)} steps: {len(made) - 2} reused, 2 built; ")
    rows = {row["step"]: row for row in table(client, run.id)}
    assert rows["distill-seed0"]["what"] == "built"
    assert rows["distill-seed0"]["made by"].startswith(f"{run.name} (distillation-all-settings), ")

    def told() -> list[str]:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
        return [task.state.message for task in tasks if task.name == "distill-seed0" and task.state.is_completed()]

    # The server hears of steps a while after it heard of their run.
    assert until(told, seconds=60, log=Path("/dev/null")) == [f"built: {student.short}"]

    noted = store.manifest(student).provenance["run"]
    assert (noted["name"], noted["flow"], noted["id"]) == (run.name, "distillation-all-settings", str(run.id))
    assert noted["page"].endswith(f"/runs/flow-run/{run.id}")
    assert noted["page"] in call(store, "show", str(student)).stdout
    assert "run" not in store.manifest(made["ingest"]).provenance  # made by nobody on a server


def test_a_run_that_fails_shows_how_far_it_came(
    client: Any, experiment: Experiment, store: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    upkeep.discard(store, made["distill-seed0"], with_dependents=True)
    too_large = experiment.training.model_copy(update={"learning_rate": 1e30})
    run = done(client, experiment.model_copy(update={"training": too_large}))
    assert run.state.name == "Failed"
    rows = {row["step"]: row["what"] for row in table(client, run.id)}
    assert rows["distill-seed0"] == "not finished"
    assert rows["extract-student"] == "reused"


def test_a_name_that_a_person_gave_stays(client: Any, experiment: Experiment, store: ArtifactStore) -> None:
    from taskdistill.flows.deployed.distillation import distillation_all_settings

    named = distillation_all_settings.with_options(flow_run_name="for the talk")
    state = named(experiment=experiment_settings_of(experiment), return_state=True)
    run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == "for the talk (all reused)"
