"""Scheduled predictions: what came since the last run is predicted, and the run says so."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.deployed.predicting import PredictForm, predict, predicted
from taskdistill.flows.deployed.short_form import filled_in
from taskdistill.storage.store import ArtifactStore


@pytest.fixture
def sent(
    finished: ArtifactStore, shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The parameters of a run on a folder of four images."""
    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    shutil.copytree(shapes_folder / "test" / "disc", tmp_path / "inbox")
    finished.label("shapes", finished.references("model")[0])
    output = str(tmp_path / "said.parquet")
    return {"model": "shapes", "images": str(tmp_path / "inbox"), "output": output, "overrides": ["runtime.device=cpu"]}


def test_each_run_predicts_what_has_come_since_the_last(sent: dict[str, Any], tmp_path: Path) -> None:
    told, _ = predicted(filled_in(PredictForm, sent))
    assert (told["predicted"], told["already"]) == (4, 0)
    shutil.copy(tmp_path / "inbox" / "000.png", tmp_path / "inbox" / "new.png")
    (tmp_path / "inbox" / "broken.jpg").write_bytes(b"")
    told, report = predicted(filled_in(PredictForm, sent))
    assert (told["predicted"], told["already"], told["left_out"]) == (1, 4, 1)
    assert pq.read_table(tmp_path / "said.parquet").num_rows == 5
    assert "holds 1 new predictions" in report
    assert f"| {tmp_path}/inbox/broken.jpg | the file is empty |" in report


@pytest.mark.parametrize("field", ["model", "images", "output"])
def test_what_is_empty_is_asked_for(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError, match=f"{field}: expected .*, found ''"):
        predicted(filled_in(PredictForm, sent | {field: ""}))


@pytest.mark.prefect
@pytest.mark.slow
def test_its_state_says_how_many_and_its_report_names_what_was_left_out(
    client: Any, sent: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "inbox" / "broken.jpg").write_bytes(b"")
    state = predict(**sent, return_state=True)
    assert state.is_completed()
    assert state.message == "4 images predicted, 0 were in the table, 1 left out"
    reports = [each for each in client.read_artifacts() if each.flow_run_id == state.state_details.flow_run_id]
    assert any("broken.jpg | the file is empty" in str(each.data) for each in reports)
