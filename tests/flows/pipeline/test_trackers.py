"""Trackers that settings ask for: refused before anything is made where they are not installed, told where they are."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.errors import MissingPackageError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.running import run_plan, run_steps
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import quietly, when_made


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


without_tensorboard = pytest.mark.skipif(is_installed("tensorboard"), reason="the package tensorboard is installed")
with_tensorboard = pytest.mark.skipif(not is_installed("tensorboard"), reason="tensorboard is missing: extra trackers")
without_mlflow = pytest.mark.skipif(is_installed("mlflow"), reason="the package mlflow is installed")


def told(experiment: Experiment, **runtime: Any) -> Experiment:
    """Return the experiment with other settings of its runtime, and with students that the store does not have."""
    update = {"distill": experiment.distill.model_copy(update={"alpha": 0.6})}
    return experiment.model_copy(update={**update, "runtime": experiment.runtime.model_copy(update=runtime)})


@without_tensorboard
def test_without_tensorboard_nothing_is_trained(experiment: Experiment, finished: ArtifactStore) -> None:
    asked, before = told(experiment, tensorboard="events"), when_made(finished)
    with pytest.raises(MissingPackageError, match="pip install tensorboard"):
        run_plan(asked, finished, quietly(asked, finished))
    with pytest.raises(MissingPackageError, match="pip install tensorboard"):
        run_steps(asked, "distill", finished, quietly(asked, finished))
    assert (when_made(finished), finished.drafts()) == (before, {})


@without_mlflow
def test_without_mlflow_nothing_is_made(experiment: Experiment, finished: ArtifactStore) -> None:
    asked, before = told(experiment, mlflow_uri="http://127.0.0.1:5000"), when_made(finished)
    with pytest.raises(MissingPackageError, match="pip install mlflow-skinny"):
        run_plan(asked, finished, quietly(asked, finished))
    assert (when_made(finished), finished.drafts()) == (before, {})


def test_a_finished_run_has_nothing_to_tell_tensorboard(
    experiment: Experiment, finished: ArtifactStore, tmp_path: Path
) -> None:
    runtime = experiment.runtime.model_copy(update={"tensorboard": str(tmp_path / "events")})
    asked = experiment.model_copy(update={"runtime": runtime})
    assert run_plan(asked, finished, quietly(asked, finished))[0]
    assert not (tmp_path / "events").exists()


@with_tensorboard
@pytest.mark.parametrize("slots", [1, 2])
def test_each_training_has_a_folder_of_its_experiment_its_step_and_its_artifact(
    experiment: Experiment, finished: ArtifactStore, tmp_path: Path, slots: int
) -> None:
    asked = told(experiment, tensorboard=str(tmp_path / "events"), slots=slots).model_copy(update={"seeds": (0, 1)})
    results, _ = run_plan(asked, finished, quietly(asked, finished))
    # The finetuned student of seed 0 was there.
    steps = {("student finetuned", 1): "finetune-seed1"}
    steps |= {("student distilled", seed): f"distill-seed{seed}" for seed in (0, 1)}
    folders = {
        f"shapes/{steps[one.model, one.seed]}/{one.artifact.fingerprint[:12]}"
        for one in results
        if (one.model, one.seed) in steps
    }
    found = {path.parent.relative_to(tmp_path / "events").as_posix() for path in tmp_path.glob("events/**/events.*")}
    assert found == folders
