"""Several runs, each on its own: on a real server, on a schedule, where the second fails and the last is refused."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.deployed.batch import (
    Outcome,
    _done,
    _is_cancelling,
    name_of,
    summary,
)
from taskdistill.flows.operation.state import StateFolder
from taskdistill.flows.pipeline.planning import make_plan
from tests.flows.conftest import as_overrides, when_made
from tests.flows.local_server import Served, children_of, until
from tests.flows.small_client import client_of
from tests.flows.small_server import Asked


def test_a_run_is_called_by_its_place_its_preset_and_the_folder_of_its_images() -> None:
    assert name_of(2, {"preset": "small-cpu", "data_path": "/data/birds/"}) == "2 small-cpu birds"
    assert name_of(1, {}) == "1 miniature"


def test_the_summary_has_a_line_for_each_run_with_a_link_to_it() -> None:
    done = Outcome("1 a", "Completed", 12.3, "", "1234")
    refused = Outcome("2 b", "Refused", 0.1, "alpha:\n'a number | was expected", "")
    assert summary([done, refused]).splitlines() == [
        "1 of 2 runs completed.",
        "",
        "| run | state | seconds | what it says |",
        "| :--- | :--- | :--- | :--- |",
        "| [1 a](/v2/runs/flow-run/1234) | Completed | 12 |  |",
        "| 2 b | Refused | 0 | alpha: 'a number \\| was expected |",
    ]


# --- where the server is away ------------------------------------------------------------------------------------


def test_a_run_goes_on_where_the_server_cannot_say_whether_it_is_cancelled(tmp_path: Path) -> None:
    run = uuid4()
    with client_of(lambda asked: (500 if asked.path == f"/flow_runs/{run}" else 404, {}), tmp_path) as client:
        assert not _is_cancelling(client, run)
        with pytest.raises(ObjectNotFound):  # it is there, and the run is not
            _is_cancelling(client, uuid4())


def test_a_run_whose_process_cannot_be_started_crashes_and_the_batch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FlowRun(flow_id=uuid4(), state=Pending())
    told: list[Any] = []

    def answer(question: Asked) -> tuple[int, Any]:
        if question.path.endswith("/set_state"):
            told.append(question.body["state"])
            details = {"type": "accept_details"}
            return 201, {"status": "ACCEPT", "details": details, "state": run.state.model_dump(mode="json")}
        return 200, run.model_dump(mode="json")

    monkeypatch.setattr("sys.executable", "/no/such/python")
    with client_of(answer, tmp_path) as client:
        state = _done(client, run.id)
    assert state.is_crashed()
    assert "No such file or directory: '/no/such/python'); Retry starts it" in state.message
    assert [each["type"] for each in told] == ["CRASHED"]


# --- on a schedule -----------------------------------------------------------------------------------------------

EVERY_SECONDS = 5.0
MISSED = 5


@pytest.mark.nightly
@pytest.mark.prefect
@pytest.mark.slow
def test_a_schedule_that_missed_five_does_the_work_once_and_of_its_runs_one_that_fails_stops_no_other(
    server: dict[str, str], served: Served, experiment: Experiment
) -> None:
    """The second of three fails, and a fourth is refused before it is a run."""
    one, other = (experiment.model_copy(update={"seeds": (seed,)}) for seed in (71, 72))
    runs: list[dict[str, Any]] = [
        {"preset": "small-cpu", "overrides": as_overrides(one)},
        {"preset": "dinov2", "overrides": [*as_overrides(one), "data.path=/no/such/folder"]},
        {"overrides": as_overrides(other)},
        {"overrides": as_overrides(other), "alpha": 2},
    ]
    wanted = {step.ref for each in (one, other) for step in make_plan(each, served.store).steps}
    before = when_made(served.store)
    with scheduled(served.client, {"runs": runs}):
        with no_worker(server):
            until(lambda: len(batches(served.client, "SCHEDULED", is_due=True)) >= MISSED, seconds=300, log=served.log)
            missed = batches(served.client, "SCHEDULED", is_due=True)
            assert when_made(served.store) == before
        # The worker is back: the first makes it all, and those that are due while it does are cancelled.
        until(lambda: batches(served.client, "FAILED"), seconds=600, log=served.log)
        made = when_made(served.store)
        until(lambda: len(batches(served.client, "FAILED")) > 1, seconds=300, log=served.log)
    until(lambda: not batches(served.client, "RUNNING", "PENDING"), seconds=300, log=served.log)

    assert set(made) == wanted | set(before)
    assert when_made(served.store) == made
    assert {ref: made[ref] for ref in before} == before
    (first, *later) = batches(served.client, "FAILED")  # as one of its runs does
    ended = {run.state.name for run in batches(served.client) if run.id in {each.id for each in missed}}
    assert ended == {"Failed", "Cancelled"}  # the first that was missed, as one of its runs does, and the others
    assert "2 of 4 runs did not complete:\n- 2 dinov2: Failed: data.path is '/no/such/folder'" in first.state.message
    assert "- 4 miniature: Refused: Validation failed for field 'alpha'" in first.state.message
    lines = report_of(served.client, first).splitlines()
    assert lines[0] == "2 of 4 runs completed."
    assert [line.split(" | ")[1] for line in lines[4:]] == ["Completed", "Failed", "Completed", "Refused"]
    counts = [state.message.partition(";")[0] for run in (first, *later) for state in nested(served.client, run)]
    assert len([words for words in counts if "built" in words]) == 2
    assert len([words for words in counts if words.startswith("All ")]) == 2 * len(later)


@contextlib.contextmanager
def scheduled(client: Any, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Have a batch due every few seconds."""
    from prefect.client.schemas.schedules import IntervalSchedule

    deployment, every = client.read_deployment_by_name("batch/batch"), timedelta(seconds=EVERY_SECONDS)
    schedule = IntervalSchedule(interval=every)
    (made,) = client.create_deployment_schedules(deployment.id, [(schedule, True)], parameters=dict(parameters))
    try:
        yield
    finally:
        client.delete_deployment_schedule(deployment.id, made.id)


@contextlib.contextmanager
def no_worker(server: dict[str, str]) -> Iterator[None]:
    """Kill the worker, and have it started again only at the end."""
    up = StateFolder(Path(server["TASKDISTILL_HOME"])).running().up
    up.send(signal.SIGSTOP)
    try:
        os.kill(children_of(server)["worker"], signal.SIGKILL)
        yield
    finally:
        up.send(signal.SIGCONT)


def batches(client: Any, *states: str, is_due: bool = False) -> list[Any]:
    """Runs of the deployment, of these states or of any, the oldest first."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    deployment = client.read_deployment_by_name("batch/batch")
    chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    found = client.read_flow_runs(flow_run_filter=chosen)
    wanted = [run for run in found if not states or run.state.type.value in states]
    due = [run for run in wanted if not is_due or run.expected_start_time < datetime.now(UTC)]
    return sorted(due, key=lambda run: run.expected_start_time)


def report_of(client: Any, run: Any) -> str:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    key, of_run = ArtifactFilterKey(any_=["batch-summary"]), ArtifactFilterFlowRunId(any_=[run.id])
    (report,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=key, flow_run_id=of_run))
    return str(report.data)


def nested(client: Any, run: Any) -> list[Any]:
    """States of the runs of a batch that completed."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    of_run = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    return [each.state for each in client.read_flow_runs(flow_run_filter=of_run) if each.state.is_completed()]
