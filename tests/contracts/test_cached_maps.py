"""A student that learns from cached maps learns what it would learn from their teacher itself, which does not run.

Shape letters: N images, H W pixels.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from taskdistill.configs.stages import DistillConfig, FinetuneConfig, PrecomputeProbedConfig, StoredLogits
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.catalog import DISTILL, FINETUNE, PRECOMPUTE_PROBED
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.shares import WHOLE, Share
from taskdistill.tasks.models.encoder import build_encoder
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.models.task_model import TaskModel, load_head
from taskdistill.tasks.models.timm_encoder import TimmEncoder
from taskdistill.tasks.problems.problem import Score
from taskdistill.tasks.stage import StageContext, no_progress
from taskdistill.tasks.stages.distill import DistillLesson, lesson_of
from taskdistill.tasks.training.lesson import Batch
from taskdistill.tasks.training.probed import probed_model
from taskdistill.tasks.training.trainer import Trainer
from tests.conftest import RUNTIME, made_once
from tests.contracts.test_segmentation import PROBLEM, STUDENT, TEACHER, VIEWS, Made, make

NUM_STEPS, BATCH = 20, 10
NUM_TRAIN, NUM_VAL = 50, 25
FP16_TOLERANCE = 1e-3
INT8_TOLERANCE = 2e-3
"""The largest differences were 3e-5 and 4e-4, of losses of about 1."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_once(tmp_path_factory, "segmentation", make)


@dataclass(frozen=True)
class OnlineLesson(DistillLesson):
    """The same lesson, but the teacher itself answers, in float32, to the views as it sees them."""

    teacher: TaskModel
    shown: ViewSource

    def load(self, drawn: Any, share: Share = WHOLE) -> Batch:
        [(_, chosen)] = drawn
        pixels_NHW3 = self.shown.cut(chosen.rows.tolist(), chosen.cached.views_N9)
        with torch.inference_mode():
            answers = self.teacher(normalise(pixels_NHW3, self.shown.preprocessing, torch.device("cpu")))
        answers_NKhw: Any = answers.numpy()  # as they are, not in the half precision that a cache has
        return super().load(drawn, share)._replace(teacher=answers_NKhw)


class NotingTrainer(Trainer):
    """Notes the losses of every step."""

    noted: list[dict[str, float]]

    def backward(self, batch: Batch) -> list[dict[str, Tensor]]:
        parts = super().backward(batch)
        self.noted.append({name: sum(float(part[name]) for part in parts) for name in parts[0]})
        return parts


def probed_teacher(made: Made) -> TaskModel:
    folder = made.path(made.teacher)
    description = ModelDescription.read(folder)
    encoder = build_encoder(TEACHER)
    encoder.preprocessing = Preprocessing(**description.preprocessing)
    return TaskModel(encoder, description.blocks, load_head(folder, description, encoder.blocks)).eval()


def lesson(made: Made, logits: ArtifactRef, draft: Path) -> tuple[TaskModel, DistillLesson]:
    """Return the student as it starts, and what stage distill would teach it."""
    training = TrainingSettings(batch_size=BATCH, accumulate=2, learning_rate=1e-3)
    settings = DistillSettings(alpha=0.5, temperature=2.0)
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=training, distill=settings, **PROBLEM)
    inputs = {"images": made.images, "probe": made.start, "logits": logits}
    context = StageContext({role: made.path(ref) for role, ref in inputs.items()}, draft, RUNTIME)
    model = probed_model(STUDENT, context)
    taught = lesson_of(config, ImageSet.open(made.path(made.images)), model, context)
    return model, replace(taught, score=lambda model: Score(0.0, 0.0))


def losses_of(model: TaskModel, taught: DistillLesson, draft: Path) -> dict[str, np.ndarray]:
    """Train for some steps; returns each term of the loss, step by step."""
    training = TrainingSettings(batch_size=BATCH, accumulate=2, learning_rate=1e-3)
    trainer = NotingTrainer(model, training, taught, seed=0, device=torch.device("cpu"), num_steps=NUM_STEPS)
    trainer.noted = []
    draft.mkdir()
    trainer.fit(draft, workers=1, checkpoint_seconds=1e9, on_progress=no_progress)
    return {name: np.asarray([losses[name] for losses in trainer.noted]) for name in trainer.noted[0]}


def difference_from_online(made: Made, logits: ArtifactRef, folder: Path) -> float:
    """Return the largest difference of any loss of any step, of about 1 each."""
    cached = losses_of(*lesson(made, logits, folder), folder / "cached")
    model, taught = lesson(made, logits, folder)
    teacher = probed_teacher(made)
    shown = ViewSource(DecodedImages(taught.real.source.images, cache_mb=64), VIEWS, teacher.encoder.preprocessing)
    online = losses_of(model, OnlineLesson(**vars(taught), teacher=teacher, shown=shown), folder / "online")
    assert all(len(losses) == NUM_STEPS for losses in cached.values())
    assert cached["distill_loss"][-5:].mean() < 0.8 * cached["distill_loss"][:5].mean()
    return max(float(np.abs(cached[name] - online[name]).max()) for name in cached)


def precomputed(made: Made, stored: StoredLogits) -> ArtifactRef:
    config = PrecomputeProbedConfig(backbone=TEACHER, views=VIEWS, logits=stored)
    return made.run(PRECOMPUTE_PROBED, config, images=made.images, probe=made.teacher)


def test_views_that_leave_their_images_are_among_those_it_learns_from(made: Made, tmp_path: Path) -> None:
    _, taught = lesson(made, made.logits, tmp_path)
    batch = taught.load(taught.draw(0))
    assert batch.shown_N4 is not None
    assert 0 < (batch.shown_N4 != [0, 1, 0, 1]).any(axis=1).sum() < BATCH


@pytest.mark.parametrize(
    ("stored", "tolerance"), [("fp16", FP16_TOLERANCE), pytest.param("int8", INT8_TOLERANCE, marks=pytest.mark.slow)]
)
def test_the_losses_of_twenty_steps_are_those_with_the_teacher_online(
    made: Made, tmp_path: Path, stored: StoredLogits, tolerance: float
) -> None:
    assert difference_from_online(made, precomputed(made, stored), tmp_path) < tolerance


def test_no_image_goes_through_a_teacher_but_as_many_through_the_student_as_in_finetuning(made: Made) -> None:
    shown: Counter[str] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        if isinstance(module, TimmEncoder):
            shown[type(module.model).__name__] += len(inputs[0])

    hook = register_module_forward_hook(note)
    try:
        found = []
        for stage, config in ((FINETUNE, FinetuneConfig), (DISTILL, DistillConfig)):
            shown.clear()
            made.trained(stage, config, epochs=1, warmup=0.3)  # of no other test: what is there is not trained anew
            found.append(dict(shown))
    finally:
        hook.remove()
    # Validated as it starts and after the epoch.
    assert found == [{"ResNet": NUM_TRAIN + 2 * NUM_VAL}] * 2
