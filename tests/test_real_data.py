"""The preset `clothing10`, of one seed, fewer views and fewer steps, on real photographs, through the command line."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.skipif("REAL_DATA_DIR" not in os.environ, reason="REAL_DATA_DIR is not set"),
]

SHORT = ("seeds=[0]", "views.num_views=4", "training.epochs=8")
PRESET = ("clothing10", *(text for setting in SHORT for text in ("--set", setting)))


def taskdistill(store: Path, *arguments: str) -> Any:
    """Run a command in a process of its own and return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", *arguments, "--json"],
        env=os.environ | {"TASKDISTILL_STORE": str(store)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the preset has run with one seed."""
    folder = tmp_path_factory.mktemp("clothing10") / "store"
    taskdistill(folder, "run", *PRESET)
    return folder


def changed_by(store: Path, setting: str) -> set[str]:
    stages = taskdistill(store, "plan", *PRESET, "--set", setting)["stages"]
    return {stage["name"] for stage in stages if stage["action"] != "have"}


def test_the_probed_teacher_reaches_75_percent_on_test_and_both_students_learn(store: Path) -> None:
    scores = taskdistill(store, "run", *PRESET)["scores"]
    top1 = {row["model"]: row["value"] for row in scores if row["split"] == "test" and row["metric"] == "top1"}
    assert top1.keys() == {"teacher probed", "student probed", "student finetuned", "student distilled"}
    assert top1["teacher probed"] >= 0.75  # with all eight views it has 82 %
    # One seed on 136 images has a standard error of 3.5 points: far above chance is all that one seed can promise.
    assert min(top1.values()) >= 0.65


def test_the_second_run_builds_nothing_and_takes_under_five_cpu_seconds(store: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    stages = taskdistill(store, "run", *PRESET)["stages"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert {stage["action"] for stage in stages} == {"have"}
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 5


def test_another_temperature_rebuilds_distill_and_its_evaluation_alone(store: Path) -> None:
    assert changed_by(store, "distill.temperature=4.0") == {"distill-seed0", "evaluate-distilled-seed0"}


def test_another_probe_rebuilds_no_features(store: Path) -> None:
    changed = changed_by(store, "probe.steps=999")
    assert "probe-teacher" in changed
    assert not {"ingest", "extract-teacher", "extract-student"} & changed


@pytest.mark.nightly
def test_blends_of_photographs_flow_through_to_the_student_whatever_their_labels_say(
    store: Path, mixer_folder: Path
) -> None:
    """With a mixer of random weights only the plumbing can be checked. The distillation is repeated with every blend
    labelled with some class: not a bit of the student changes.
    """
    settings = [
        *SHORT, "synthetic_images=blends", f"generator.folder={mixer_folder}", "blends.side_px=64",
        "blends.num_steps=2", "blends.per_image=0.05", "training.epochs=1",
    ]  # fmt: skip
    preset = [text for setting in settings for text in ("--set", setting)]
    run = taskdistill(store, "run", "clothing10", *preset)
    made = {stage["name"]: stage["reference"] for stage in run["stages"]}
    assert {row["model"] for row in run["scores"]} >= {"student distilled", "student distilled +blends"}
    artifacts = ArtifactStore(store)
    blends = ImageSet.open(artifacts.path(ArtifactRef.parse(made["generate"])))
    assert (len(blends), set(blends.labels.tolist())) == (18, {-1})

    labelled = relabelled(artifacts, ArtifactRef.parse(made["generate"]))

    def again_with(step: str, **others: str) -> str:
        """Run a step anew on the labelled blends and what was made from them."""
        options = [text for role, ref in others.items() for text in ("--input", f"{role}={ref}")]
        (ref,) = taskdistill(store, "stage", step, "clothing10", *preset, *options)["made"]
        return str(ref)

    features = again_with("extract-teacher-synthetic", images=str(labelled))
    logits = again_with("precompute-synthetic", features=features)
    selection = again_with("select", synthetic=str(labelled), logits=logits)
    again = again_with("distill-synthetic-seed0", synthetic=str(labelled), synthetic_logits=logits, selection=selection)
    assert again != made["distill-synthetic-seed0"]
    students = [artifacts.path(ArtifactRef.parse(text)) for text in (again, made["distill-synthetic-seed0"])]
    first, second = (dict(load_file(folder / "last.safetensors")) for folder in students)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def relabelled(store: ArtifactStore, ref: ArtifactRef) -> ArtifactRef:
    """Commit the same synthetic images with a class for each."""
    images = ImageSet.open(store.path(ref))
    recipe = store.manifest(ref).recipe | {"stage": "relabelled"}
    other = ArtifactRef("image-set", fingerprint(recipe))
    rows = [
        ImageRow(images.ids[row], images.image(row), 64, 64, "train", row % 10, parents=images.parents[row])
        for row in range(len(images))
    ]
    with store.lock(other):
        draft = store.draft(other, recipe)
        write_shard(draft, 0, rows)
        counts = write_index(draft, classes=images.classes, num_shards=1)
        store.commit(other, recipe=recipe, inputs=store.manifest(ref).input_refs, summary=counts)
    return other


def test_every_byte_of_the_run_verifies(store: Path) -> None:
    found = taskdistill(store, "verify")
    assert found["verified"] >= 11
    assert found["damage"] == []
