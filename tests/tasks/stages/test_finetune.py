"""Stage "finetune": what the student is shown, what it learns from it, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, FinetuneConfig, ProbeConfig, ProbeSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError, StoreError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.catalog import EXTRACT, FINETUNE, INGEST, PROBE
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.task_model import load_model
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench
from tests.fakes import write_shapes

pytestmark = pytest.mark.usefixtures("bare_pictures")

STANDING_STILL = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-12)


def cross_entropy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    likely_NK = logits_NK - np.log(np.exp(logits_NK).sum(axis=1, keepdims=True))
    return float(-likely_NK[np.arange(len(labels_N)), labels_N].mean())


def head_of(bench: Bench, features_ND: np.ndarray) -> np.ndarray:
    """What the student's probe says of these features, by numpy."""
    head = load_file(bench.path(bench.student_probe) / "head.safetensors")
    return np.asarray(features_ND.astype(np.float64) @ head["weight"].numpy().T + head["bias"].numpy())


def test_epoch_after_epoch_shows_every_training_image_in_the_next_view(workshop: Bench) -> None:
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=STANDING_STILL)
    ref = workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe)
    images, features = (
        ImageSet.open(workshop.path(workshop.images)),
        ViewOutputs(workshop.path(workshop.student_features)),
    )
    rows = images.rows_of("train")
    _start, *history = read_table(workshop.path(ref) / "history.parquet")
    # At a learning rate of nothing the loss of an epoch is that of the probed encoder on all images in one view.
    for row, view in zip(history, (1, 2, 1), strict=True):
        logits_NK = head_of(workshop, features.view(view)[:, 0])
        assert row["loss"] == pytest.approx(cross_entropy(logits_NK, images.labels[rows]), rel=2e-3)
    assert history[0]["loss"] != pytest.approx(history[1]["loss"], rel=1e-2)


def test_the_loss_falls(workshop: Bench) -> None:
    # From a probe that has seen nothing, so that there is something to learn.
    untrained = ProbeConfig(probe=ProbeSettings(learning_rates=(1e-6,), steps=1))
    probe = workshop.run(PROBE, untrained, images=workshop.images, features=workshop.student_features)
    training = TrainingSettings(epochs=5, batch_size=8, learning_rate=3e-3)
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=training)
    ref = workshop.run(FINETUNE, config, images=workshop.images, probe=probe)
    losses = [row["loss"] for row in read_table(workshop.path(ref) / "history.parquet")[1:]]
    assert losses[-1] < 0.5 * losses[0]
    assert workshop.summary(ref)["best_val_score"] > 0.5


def test_a_finished_model_is_built_again_from_its_folder_alone(workshop: Bench) -> None:
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=STANDING_STILL)
    ref = workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe)
    model, description = load_model(workshop.path(ref))
    assert description.classes == ["disc", "frame", "wedge"]
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == workshop.summary(ref)["parameters"]
    probed = load_file(workshop.path(workshop.student_probe) / "head.safetensors")
    assert torch.equal(model.head.state_dict()["weight"], probed["weight"])  # it stood still


def test_a_probe_of_another_encoder_is_refused_by_the_names_of_both(workshop: Bench) -> None:
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS)
    with pytest.raises(CacheMismatchError, match="trained on features of test_vit, not of test_resnet"):
        workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.probe)


def test_a_probe_that_knows_other_classes_is_refused(workshop: Bench, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "two", {"train": 2, "val": 1, "test": 1}, side=16)
    for split in ("train", "val", "test"):
        (folder / split / "wedge").rename(folder / split / "zigzag")
    images = workshop.run(INGEST, IngestConfig(path=str(folder)))
    with pytest.raises(CacheMismatchError, match=r"knows the classes \['disc', 'frame', 'wedge'\], .*'zigzag'\]"):
        workshop.run(
            FINETUNE, FinetuneConfig(backbone=STUDENT, views=VIEWS), images=images, probe=workshop.student_probe
        )


# --- backbones that cannot be ------------------------------------------------------------------------------------


def extract_with(bench: Bench, backbone: Backbone) -> None:
    bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=bench.images)


def test_weights_that_are_a_pickle_are_refused_unread(workshop: Bench, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.mkdir, (tmp_path / "sprung",))

    file = tmp_path / "teacher.pth"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(
        StoreError,
        match=r"teacher.pth is not .* a pickled checkpoint .*can run code and is not read",
    ):
        extract_with(workshop, TEACHER.model_copy(update={"weights": "file", "file": str(file)}))
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_architecture_are_refused_with_the_names_of_what_is_missing(
    workshop: Bench, tmp_path: Path
) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "test_resnet.safetensors")
    with pytest.raises(ModelError, match=r"resnet.safetensors for test_vit do not fit it: .*(cls_token|pos_embed)"):
        extract_with(
            workshop, TEACHER.model_copy(update={"weights": "file", "file": str(tmp_path / "test_resnet.safetensors")})
        )


def test_weights_from_a_file_are_loaded_classifier_or_not(workshop: Bench, tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = timm.create_model("test_resnet", num_classes=5)
    save_file(model.state_dict(), tmp_path / "whole.safetensors")
    backbone = STUDENT.model_copy(update={"weights": "file", "file": str(tmp_path / "whole.safetensors")})
    ref = workshop.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=workshop.images)
    other = ViewOutputs(workshop.path(workshop.student_features)).view(0)
    assert np.abs(ViewOutputs(workshop.path(ref)).view(0).astype(np.float32) - other).max() > 0.01


def test_an_argument_that_the_model_does_not_take_is_named(workshop: Bench) -> None:
    with pytest.raises(ModelError, match=r"cannot build test_vit with arguments\.wings \(2\)"):
        extract_with(workshop, TEACHER.model_copy(update={"arguments": {"wings": 2}}))


def test_weights_that_timm_does_not_have_are_named_with_the_nearest(workshop: Bench) -> None:
    with pytest.raises(ModelError, match=r"has no weights 'r160_in1'; did you mean 'r160_in1k'\?"):
        extract_with(workshop, TEACHER.model_copy(update={"name": "test_vit.r160_in1", "weights": "hub"}))


def test_the_description_of_a_model_does_not_tell_where_its_weight_file_lay(workshop: Bench, tmp_path: Path) -> None:
    file = tmp_path / "somewhere.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), file)
    backbone = STUDENT.model_copy(update={"weights": "file", "file": str(file)})
    features = workshop.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=workshop.images)
    settings = ProbeConfig(probe=ProbeSettings(learning_rates=(0.1,), steps=1))
    probe = workshop.run(PROBE, settings, images=workshop.images, features=features)
    config = FinetuneConfig(backbone=backbone, views=VIEWS, training=STANDING_STILL.model_copy(update={"epochs": 1}))
    ref = workshop.run(FINETUNE, config, images=workshop.images, probe=probe)
    file.unlink()  # and it is not needed any more
    assert "somewhere" not in ModelDescription.read(workshop.path(ref)).model_dump_json()
    load_model(workshop.path(ref))
