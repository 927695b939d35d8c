"""Several runs, each on its own: on a real server, where the second of three fails and the last is refused."""

import re
from typing import Any

import pytest

from configs.experiment import Experiment
from flows.deployed.batch import Outcome, batch, name_of, summary
from storage.store import ArtifactStore
from tests.flows.conftest import as_overrides, when_made


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


@pytest.mark.prefect
@pytest.mark.slow
def test_the_others_complete_where_one_fails_and_one_is_refused_and_the_batch_says_so(
    client: Any, experiment: Experiment, finished: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    before = when_made(finished)

    lines = as_overrides(experiment)
    runs: list[dict[str, Any]] = [
        {"overrides": lines},
        {"overrides": [*lines, "data.path=/no/such/folder"]},
        {"overrides": lines},
        {"overrides": lines, "alpha": 2},
    ]
    state = batch(runs=runs, return_state=True)
    assert state.is_failed()
    assert "2 of 4 runs did not complete:\n- 2 miniature: Failed: data.path is '/no/such/folder'" in state.message
    assert "- 4 miniature: Refused: Validation failed for field 'alpha'" in state.message
    assert when_made(finished) == before

    of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    chosen = ArtifactFilter(key=ArtifactFilterKey(any_=["batch-summary"]), flow_run_id=of_run)
    (report,) = client.read_artifacts(artifact_filter=chosen)
    lines = report.data.splitlines()
    assert lines[0] == "2 of 4 runs completed."
    assert [line.split(" | ")[1] for line in lines[4:]] == ["Completed", "Failed", "Completed", "Refused"]
    nested = {run.name: run.state.name for run in client.read_flow_runs() if re.match(r"\d miniature", run.name)}
    made_before = "(all reused)"
    assert nested == {
        f"1 miniature {made_before}": "Completed", "2 miniature": "Failed", f"3 miniature {made_before}": "Completed",
    }  # fmt: skip
