"""Models as settings name them, in `plan` and before a run: what cannot be used is known before any work."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import GeneratorModel
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ProbeSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.model_trials import ModelTrials
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weight_formats import WeightFileError
from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.mixer_folder import GeneratorFolderError
from taskdistill.tasks.prechecks.timm_names import UnknownModelError
from tests.flows.conftest import quietly


def with_teacher(experiment: Experiment, file: Path) -> Experiment:
    teacher = Backbone(name="test_vit", weights="file", file=str(file), input_px=48)
    return experiment.model_copy(update={"teacher": teacher})


def test_a_pipe_as_weights_does_not_hang_the_plan(experiment: Experiment, store: ArtifactStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(WeightFileError, match="is a named pipe, not a file"):
        make_plan(with_teacher(experiment, tmp_path / "w.safetensors"), store)


def test_a_pipe_in_a_generators_folder_does_not_hang_the_plan(
    with_blends: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    blends = with_blends.model_copy(update={"generator": GeneratorModel(folder=str(tmp_path))})
    with pytest.raises(WeightFileError, match="pipe is a named pipe"):
        make_plan(blends, store)


def test_a_name_that_timm_has_not_is_known_to_the_plan(experiment: Experiment, store: ArtifactStore) -> None:
    teacher = Backbone(name="test_vot", weights="random", input_px=48)
    with pytest.raises(UnknownModelError, match="timm has no model 'test_vot'; did you mean 'test_vit'"):
        make_plan(experiment.model_copy(update={"teacher": teacher}), store)


def test_a_pointer_as_weights_is_known_to_the_plan(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 7\n")
    with pytest.raises(WeightFileError, match="git lfs pull"):
        make_plan(with_teacher(experiment, tmp_path / "w.safetensors"), store)


def test_a_folder_that_is_no_generator_is_known_to_the_plan(
    with_blends: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    blends = with_blends.model_copy(update={"generator": GeneratorModel(folder=str(tmp_path))})
    with pytest.raises(GeneratorFolderError, match="is no diffusers folder"):
        make_plan(blends, store)


def test_weights_that_do_not_fit_are_known_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr("taskdistill.tasks.models.fitting_names.SEARCH_SECONDS", 0.1)
    write_tensors(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)})
    wrong = with_teacher(experiment, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="do not fit it"):
        run_plan(wrong, store, quietly(wrong, store))
    assert not store.drafts()


def test_a_device_that_is_not_there_is_known_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    absent = experiment.model_copy(update={"runtime": RuntimeConfig(device="cuda")})
    with pytest.raises(ModelError, match=r"runtime\.device is cuda, but torch sees no CUDA device"):
        ModelTrials().check(make_plan(absent, store))


def test_only_a_network_that_is_still_needed_is_tried(experiment: Experiment, finished: ArtifactStore) -> None:
    """A teacher's features that are there need no teacher, even one whose settings could not be built any more."""
    longer = experiment.model_copy(
        update={"training": TrainingSettings(epochs=3, batch_size=8), "probe": ProbeSettings(inputs=("last4",))}
    )
    plan = make_plan(experiment.model_copy(update={"training": longer.training}), finished)
    done = {step.name: step.action for step in plan.steps}
    assert (done["extract-teacher"], done["finetune-seed0"]) == ("have", "stale")
    ModelTrials().check(
        replace(plan, experiment=longer)
    )  # would name probe.inputs, were the teacher not a ViT that has them
    broken = experiment.model_copy(update={"training": TrainingSettings(epochs=3, batch_size=8, drop_path=0.5)})
    vgg = Backbone(name="vgg11", weights="random", input_px=32)
    ModelTrials().check(replace(plan, experiment=broken.model_copy(update={"teacher": vgg})))


def test_a_student_that_a_later_stage_needs_is_tried_though_its_features_are_there(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    retrained = experiment.model_copy(
        update={"training": TrainingSettings(epochs=3, batch_size=8), "student_probe": ProbeSettings(inputs=("last4",))}
    )
    plan = make_plan(experiment.model_copy(update={"training": retrained.training}), finished)
    with pytest.raises(ModelError, match=r"student_probe\.inputs asks for \['last4'\]"):
        ModelTrials().check(replace(plan, experiment=retrained))


def test_a_run_with_nothing_to_do_imports_no_torch(
    preset: str, finished: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys; from taskdistill.configs.loading import load_experiment; "
        "from taskdistill.storage.store import ArtifactStore;"
        "from taskdistill.flows.pipeline.planning import make_plan; "
        "from taskdistill.flows.pipeline.model_trials import ModelTrials;"
        f"e = load_experiment({preset!r}); plan = make_plan(e, ArtifactStore.from_env());"
        "assert plan.is_complete; ModelTrials().check(plan); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "TASKDISTILL_STORE": str(finished.root)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
