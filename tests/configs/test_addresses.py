"""Addresses of servers: which are taken, and that no password of one is shown or kept."""

from pathlib import Path

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment, load_runtime
from taskdistill.configs.places import portable

WITH_PASSWORD = "http://somebody:se@cret@localhost:5000/mlflow"


def test_settings_are_kept_and_shown_without_the_password_of_an_address() -> None:
    experiment = Experiment.model_validate({"runtime": {"mlflow_uri": WITH_PASSWORD}})
    assert experiment.runtime.mlflow_uri == WITH_PASSWORD
    assert portable(experiment)["runtime"]["mlflow_uri"] == "http://localhost:5000/mlflow"
    assert "cret" not in f"{experiment!r} {experiment.model_dump_json()}"


@pytest.mark.parametrize(
    "overrides",
    [
        [f"runtime.mlflow_uri={WITH_PASSWORD}", "runtime.workers=many"],
        [f"runtime.mlflow_urn={WITH_PASSWORD}"],
        [f"runtime.workers={WITH_PASSWORD}"],
        [f"runtime.mlflow_uri.password={WITH_PASSWORD}"],
        [f"runtime.mlflow_uri={WITH_PASSWORD}/${{NO_SUCH_VARIABLE}}"],
        [f"runtme.mlflow_uri={WITH_PASSWORD}"],
    ],
)
def test_no_error_in_settings_shows_the_password_of_an_address(overrides: list[str]) -> None:
    with pytest.raises(SettingsError) as failed:
        load_experiment("miniature", overrides)
    assert "cret" not in str(failed.value)


def test_settings_of_how_work_is_done_show_no_password_either() -> None:
    with pytest.raises(SettingsError, match="only settings of runtime") as failed:
        load_runtime([f"data.path={WITH_PASSWORD}"])
    assert "cret" not in str(failed.value)


def test_event_files_lie_in_folders_within_folders_wherever_a_worker_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runtime = Experiment.model_validate({"runtime": {"tensorboard": "events"}}).runtime
    assert runtime.within("birds").within("distill-seed0").tensorboard == f"{tmp_path}/events/birds/distill-seed0"
    assert Experiment().runtime.within("birds").tensorboard == ""
