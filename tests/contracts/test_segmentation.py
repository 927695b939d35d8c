"""Segmentation goes through the stages that every problem goes through, on the birds of the miniature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import (
    DistillConfig,
    EvaluateConfig,
    FinetuneConfig,
    PrecomputeImagesConfig,
    PrecomputeProbedConfig,
    ProbeImagesConfig,
    ProbeSettings,
)
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_tensors
from taskdistill.tasks.catalog import (
    DISTILL,
    EVALUATE,
    EVALUATE_TEACHER,
    FINETUNE,
    PRECOMPUTE_IMAGES,
    PRECOMPUTE_PROBED,
    PROBE_IMAGES,
)
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.miniature.world import PARTS
from taskdistill.tasks.models.encoder import build_encoder
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.task_model import load_head, load_model
from taskdistill.tasks.problems.segmentation import Segmentation
from taskdistill.tasks.stage import Stage, execute
from tests.conftest import RUNTIME, made_once
from tests.masked_images import commit_birds

WEIGHTS = Path("tasks/miniature/weights")
TEACHER = Backbone(
    name="vit_tiny_patch16_224", weights="file", file=str(WEIGHTS / "teacher.safetensors"), input_px=64,
    arguments={"patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 4},
)  # fmt: skip
STUDENT = Backbone(name="test_resnet", weights="random", input_px=64)
VIEWS = ViewSettings(num_views=2, crop="scaled")
PROBE = ProbeSettings(
    inputs=("last4",), learning_rates=(0.01,), steps=25, batch_size=16, optimizer="adamw", head="linear"
)
PYRAMID = PROBE.model_copy(update={"head": "segformer-mlp"})
TRAINING = TrainingSettings(epochs=3, batch_size=10, accumulate=2, learning_rate=1e-3)
PROBLEM = {"problem": "segmentation"}


class Made(NamedTuple):
    """A store with birds, a probed teacher and its logits, a probed student."""

    store: ArtifactStore
    images: ArtifactRef
    teacher: ArtifactRef
    logits: ArtifactRef
    start: ArtifactRef

    def run(self, stage: Stage[Any], config: Any, **inputs: ArtifactRef) -> ArtifactRef:
        return execute(stage, config, inputs, store=self.store, runtime=RUNTIME)

    def path(self, ref: ArtifactRef) -> Path:
        return self.store.path(ref)

    def scores(self, evaluation: ArtifactRef) -> Mapping[str, float]:
        return self.store.manifest(evaluation).summary["scores"]["test"]

    def trained(self, stage: Stage[Any], config: type, **settings: Any) -> ArtifactRef:
        """Train the student; settings of training by name."""
        inputs = {"images": self.images, "probe": self.start}
        inputs |= {"logits": self.logits} if stage is DISTILL else {}
        training = TRAINING.model_copy(update=settings)
        return self.run(stage, config(backbone=STUDENT, views=VIEWS, training=training, **PROBLEM), **inputs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_once(tmp_path_factory, "segmentation", make)


def make(folder: Path) -> Made:
    store = ArtifactStore(folder / "store")
    images = commit_birds(store, {"train": 2, "val": 1, "test": 1})

    def run(stage: Stage[Any], config: Any, **inputs: ArtifactRef) -> ArtifactRef:
        return execute(stage, config, {"images": images, **inputs}, store=store, runtime=RUNTIME)

    teacher = run(PROBE_IMAGES, ProbeImagesConfig(backbone=TEACHER, views=VIEWS, probe=PROBE, **PROBLEM))
    logits = run(PRECOMPUTE_PROBED, PrecomputeProbedConfig(backbone=TEACHER, views=VIEWS), probe=teacher)
    start = run(PROBE_IMAGES, ProbeImagesConfig(backbone=STUDENT, views=VIEWS, probe=PYRAMID, **PROBLEM))
    return Made(store, images, teacher, logits, start)


def most_frequent_part(made: Made) -> float:
    """Return the mIoU of one who always answers the most frequent part."""
    images = ImageSet.open(made.path(made.images))
    masks = np.stack([Segmentation().truth(images, int(row)) for row in images.rows_of("test")])
    counts = np.bincount(masks[masks != IGNORED], minlength=len(PARTS))
    return float(counts.max() / counts.sum() / (counts > 0).sum())


def test_the_teachers_logits_are_maps_on_its_own_grid(made: Made) -> None:
    assert ViewOutputs(made.path(made.logits)).row_shape == (len(PARTS), 8, 8)


def test_the_teacher_is_scored_by_its_cached_logits(made: Made) -> None:
    evaluation = made.run(EVALUATE_TEACHER, EvaluateConfig(**PROBLEM), images=made.images, logits=made.logits)
    assert made.scores(evaluation)["miou"] > 1.5 * most_frequent_part(made)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "config"), [(FINETUNE, FinetuneConfig), (DISTILL, DistillConfig)])
def test_students_with_another_head_and_grid_than_the_teachers_are_trained_and_scored(
    made: Made, stage: Stage[Any], config: type
) -> None:
    model = made.trained(stage, config)
    evaluate = EvaluateConfig(**PROBLEM)
    evaluation = made.run(EVALUATE, evaluate, images=made.images, model=model, teacher=made.logits)
    assert made.scores(evaluation)["miou"] > most_frequent_part(made)
    network, description = load_model(made.path(model))
    assert description.head == "segformer-mlp"
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, len(PARTS), 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross-entropy+dice", "cross-entropy+lovasz"])
def test_other_losses_and_class_weights_train_it_too(made: Made, loss: str) -> None:
    model = made.trained(FINETUNE, FinetuneConfig, loss=loss, class_weights="inverse-frequency", epochs=1)
    assert np.isfinite(made.store.manifest(model).summary["best_val_score"])


@pytest.mark.slow
def test_a_finetuned_network_teaches_with_its_own_head(made: Made) -> None:
    model = made.trained(FINETUNE, FinetuneConfig)
    logits = made.run(PRECOMPUTE_IMAGES, PrecomputeImagesConfig(views=VIEWS), images=made.images, model=model)
    assert ViewOutputs(made.path(logits)).row_shape == (len(PARTS), 16, 16)
    settings = {"views": VIEWS, "training": TRAINING, "distill": DistillSettings(mix_views="cutmix")}
    config = DistillConfig(backbone=STUDENT, **settings, **PROBLEM)
    made.run(DISTILL, config, images=made.images, probe=made.start, logits=logits)


# --- the statistics of a head ----------------------------------------------------------------------------------------


def statistics(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the running means of the BatchNorm layers of a head."""
    return {name.removeprefix("head."): found for name, found in tensors.items() if "running_mean" in name}


def of_head(made: Made, model: ArtifactRef) -> dict[str, Any]:
    tensors = read_tensors(made.path(model) / "last.safetensors")
    return statistics({name: found for name, found in tensors.items() if name.startswith("head.")})


def test_a_probe_is_written_with_the_statistics_it_learnt_and_answers_with_them(made: Made) -> None:
    folder = made.path(made.teacher)
    found = statistics(read_tensors(folder / "head.safetensors"))
    assert len(found) == 4
    assert all(np.abs(mean).max() > 0 for mean in found.values())
    # The cached logits of the clean view are what the head, read again and not in training, says of its maps.
    images, description = ImageSet.open(made.path(made.images)), ModelDescription.read(folder)
    encoder = build_encoder(TEACHER).eval()
    head = load_head(folder, description, encoder.blocks).eval()
    rows = images.rows_of("val")[:3].tolist()
    source = ViewSource(DecodedImages(images, cache_mb=0), VIEWS, encoder.preprocessing)
    pixels = source.cut(rows, source.views(rows, [CLEAN_VIEW] * 3))
    with torch.no_grad():
        shown = encoder(normalise(pixels, encoder.preprocessing, torch.device("cpu")), description.blocks)
        expected = head(*shown)
    outputs = ViewOutputs(made.path(made.logits))
    cached = outputs.view(CLEAN_VIEW)[outputs.rows_of([images.ids[row] for row in rows], CLEAN_VIEW)]
    np.testing.assert_allclose(cached.astype(np.float32), expected.numpy(), atol=0.02)


def test_frozen_statistics_of_the_head_stay_those_of_the_probe(made: Made) -> None:
    probed = statistics(read_tensors(made.path(made.start) / "head.safetensors"))
    trained = of_head(made, made.trained(FINETUNE, FinetuneConfig, epochs=1))
    assert probed.keys() == trained.keys()
    for name, mean in probed.items():
        np.testing.assert_array_equal(trained[name], mean)


def test_trained_statistics_of_the_head_move_on(made: Made) -> None:
    probed = statistics(read_tensors(made.path(made.start) / "head.safetensors"))
    trained = of_head(made, made.trained(FINETUNE, FinetuneConfig, epochs=1, batchnorm="train"))
    assert all(np.abs(trained[name] - mean).max() > 0 for name, mean in probed.items())
