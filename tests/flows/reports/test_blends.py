"""Blends through the whole pipeline: from the command line to the student they help to teach, and killed in between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Done, call, write_preset

NUM_BLENDS = 24
"""One for each training image."""


def step(store: ArtifactStore, preset: str, name: str) -> ArtifactRef:
    return next(step.ref for step in make_plan(load_experiment(preset), store).steps if step.name == name)


def test_one_more_student_is_scored_beside_its_control(run_with_blends: tuple[Path, Done]) -> None:
    assert run_with_blends[1].code == 0, run_with_blends[1].stderr
    models = [
        row["model"] for row in run_with_blends[1].json["scores"] if row["metric"] == "top1" and row["split"] == "test"
    ]
    assert models == [
        "teacher probed",
        "student probed",
        "student finetuned",
        "student distilled",
        "student distilled +blends",
    ]


def test_a_second_run_builds_nothing(run_with_blends: tuple[Path, Done], preset_with_blends: str) -> None:
    again = call(ArtifactStore(run_with_blends[0]), "run", preset_with_blends, "--json")
    assert {stage["action"] for stage in again.json["stages"]} == {"have"}


def test_the_student_saw_the_blends_that_were_selected(
    run_with_blends: tuple[Path, Done], preset_with_blends: str
) -> None:
    store = ArtifactStore(run_with_blends[0])
    assert store.manifest(step(store, preset_with_blends, "select")).summary["kept"] == NUM_BLENDS
    assert (
        store.manifest(step(store, preset_with_blends, "distill-synthetic-seed0")).summary["synthetic_images"]
        == NUM_BLENDS
    )
    assert store.manifest(step(store, preset_with_blends, "distill-seed0")).summary["synthetic_images"] == 0


def test_another_choice_of_blends_repaints_nothing(run_with_blends: tuple[Path, Done], preset_with_blends: str) -> None:
    plan = call(
        ArtifactStore(run_with_blends[0]), "plan", preset_with_blends, "--set", "select.drop=[uncertain]", "--json"
    ).json
    changed = [stage["name"] for stage in plan["stages"] if stage["action"] != "have"]
    assert changed == ["select", "distill-synthetic-seed0", "evaluate-synthetic-seed0"]


def test_the_plan_names_every_step_with_its_size_before_anything_is_there(
    preset_with_blends: str, store: ArtifactStore
) -> None:
    sizes = {
        stage["name"]: stage["bytes"] for stage in call(store, "plan", preset_with_blends, "--json").json["stages"]
    }
    # PNG of 16 px at 1.6 bytes a pixel.
    assert sizes["generate"] == round(NUM_BLENDS * 16 * 16 * 1.6)
    # 24 blends, each in 3 views, 3 classes in 2 bytes and 100 bytes for the view itself.
    assert sizes["precompute-synthetic"] == NUM_BLENDS * 3 * (3 * 2 + 100)
    # Two augmented views of 24 training images, and the clean one of the 24 others.
    assert sizes["precompute"] == (24 * 2 + 24) * (3 * 2 + 100)


def test_blends_without_a_generator_are_refused_saying_how_to_get_one(preset_with_blends: str) -> None:
    with pytest.raises(SettingsError, match="taskdistill convert-image-mixer"):
        load_experiment(preset_with_blends, ["generator.folder="])


# --- killed ----------------------------------------------------------------------------------------------------------

NUM_IN_SHARDS = 96
"""In three shards of 32."""


@pytest.fixture
def many_blends(with_blends: Experiment, tmp_path: Path) -> str:
    """The shapes, with four blends for each of the 24 training images, slow enough to be killed in between."""
    blends = with_blends.blends.model_copy(update={"per_image": 4, "num_steps": 10})
    return write_preset(tmp_path / "blended.yaml", with_blends.model_copy(update={"blends": blends}))


def generating(preset: str, root: Path) -> subprocess.Popen[bytes]:
    """`taskdistill stage generate` in a process of its own."""
    command = [sys.executable, "-m", "taskdistill.flows.cli", "stage", "generate", preset]
    return subprocess.Popen(command, env=os.environ | {"TASKDISTILL_STORE": str(root)}, stderr=subprocess.DEVNULL)


def wait_for(happened: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_shard_costs_at_most_that_shard(
    run_with_blends: tuple[Path, Done], many_blends: str, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for root in (whole, killed):
        shutil.copytree(run_with_blends[0], root)
    assert generating(many_blends, whole).wait() == 0

    run = generating(many_blends, killed)
    wait_for(lambda: len(list(killed.glob("drafts/*/shards/*.parquet"))) == 1)
    time.sleep(0.3)  # well inside the second shard, of 32 blends in 10 evaluations each
    run.send_signal(signal.SIGKILL)
    run.wait()
    finished = len(list(killed.glob("drafts/*/shards/*.parquet")))
    assert finished < 3
    assert generating(many_blends, killed).wait() == 0

    ref = next(ref for ref in ArtifactStore(whole).references("image-set") if _num_steps(whole, ref) == 10)
    assert ArtifactStore(killed).manifest(ref).files == ArtifactStore(whole).manifest(ref).files
    assert ArtifactStore(killed).manifest(ref).summary["painted"] == NUM_IN_SHARDS - 32 * finished
    assert len(ImageSet.open(ArtifactStore(killed).path(ref))) == NUM_IN_SHARDS


def _num_steps(root: Path, ref: ArtifactRef) -> Any:
    return ArtifactStore(root).manifest(ref).recipe["config"].get("blends", {}).get("num_steps")
