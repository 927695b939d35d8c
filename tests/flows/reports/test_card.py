"""The card of a model: what a person, or a hub, reads of it."""

import re
from pathlib import Path

from huggingface_hub import ModelCardData

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.reports.card import card_head, card_of, warnings_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.models.licences import Licence, of_backbone
from tests.conftest import STUDENT


def test_it_has_the_scores_beside_those_of_teacher_and_control(run_store: ArtifactStore, student: ArtifactRef) -> None:
    card = card_of(run_store, student, 1.25)
    rows = re.findall(r"^\| (\w[\w ]+) \| test \|", card, re.MULTILINE)
    assert rows == ["teacher", "student probed", "student finetuned", "student distilled"]
    assert "12 val, 12 test" in card
    assert re.search(r"^\| student distilled \| .*\(SE [\d.]+\)", card, re.MULTILINE)
    assert "divided by 1.25" in card


def test_it_counts_the_images_and_names_their_revision(run_store: ArtifactStore, student: ArtifactRef) -> None:
    card = card_of(run_store, student, 1.0)
    assert f"Revision {run_store.manifest(student).input_refs['images'].short}" in card
    assert "48 images of 3 classes: train 24, val 12, test 12" in card


def test_it_says_how_each_class_fares(run_store: ArtifactStore, student: ArtifactRef) -> None:
    card = card_of(run_store, student, 1.0)
    found = re.findall(r"^\| (disc|frame|wedge) \| ([\d.]+) \| 4 \|", card, re.MULTILINE)
    assert sorted(name for name, _ in found) == ["disc", "frame", "wedge"]
    assert [float(share) for _, share in found] == sorted(float(share) for _, share in found)


def test_no_place_of_this_computer_is_in_it(run_store: ArtifactStore, student: ArtifactRef) -> None:
    text = card_of(run_store, student, 1.0) + str(card_head(run_store, student))
    assert str(run_store.root) not in text
    assert not re.search(r"(?<!path)/(?:tmp|home|root|work)/", text)


def test_hubs_read_its_head(run_store: ArtifactStore, student: ArtifactRef) -> None:
    data = ModelCardData(**card_head(run_store, student), model_name="a student")
    assert data.license == "apache-2.0"
    assert {result.dataset_split for result in data.eval_results} >= {"test"}


def test_a_licence_against_commercial_use_is_a_warning() -> None:
    forbidden = of_backbone("teacher", {"name": "convnextv2_atto.fcmae_ft_in1k", "weights": "hub"})
    assert forbidden.tag == "cc-by-nc-4.0"
    assert "forbids commercial use" in forbidden.warning()
    assert "no commercial use" in forbidden.sentence()
    assert (
        "is not known" in of_backbone("student", {"name": "resnet18", "weights": "file"}, "/a/w.safetensors").warning()
    )
    assert of_backbone("student", {"name": "resnet18.a1_in1k", "weights": "hub"}).warning() == ""
    assert "terms of its own" in Licence("teacher", "dinov3", "dinov3-license").sentence()


def test_of_networks_without_pretraining_nothing_stands_against_it(
    run_store: ArtifactStore, student: ArtifactRef
) -> None:
    assert list(warnings_of(run_store, student)) == []


def test_the_preset_that_makes_it_again_is_one(run_store: ArtifactStore, student: ArtifactRef, tmp_path: Path) -> None:
    card = card_of(run_store, student, 1.0)
    text = re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1]
    (tmp_path / "preset.yaml").write_text(text)
    found = load_experiment(str(tmp_path / "preset.yaml"), [])
    assert found.student == STUDENT
    assert found.data.path == "/path/to/shapes"
