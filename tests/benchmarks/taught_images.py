"""Images with a teacher's cached logits, written straight in the store's formats, and the runs that train on them.

The step is the project's own: the lessons of tasks.stages.finetune and tasks.stages.distill, in the Trainer.
Labels and logits are random: what a step costs does not depend on what is learnt.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.lengths import num_steps
from taskdistill.tasks.functional.losses import num_answers
from taskdistill.tasks.functional.views import UNKNOWN, Size, View
from taskdistill.tasks.inference.frozen import run_frozen
from taskdistill.tasks.models.device import device_of, on_device
from taskdistill.tasks.models.encoder import blocks_named, build_encoder
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.problem import Problem, Score, problem_named, task_loss_of
from taskdistill.tasks.stage import StageContext, no_progress
from taskdistill.tasks.stages.distill import DistillLesson
from taskdistill.tasks.stages.finetune import FinetuneLesson
from taskdistill.tasks.training.distill_source import DistillSource
from taskdistill.tasks.training.lesson import Lesson, Losses, MicroBatch
from taskdistill.tasks.training.trainer import Trainer
from tests.benchmarks.pictures import jpeg
from tests.contracts.dense_toy import Parts
from tests.masked_images import png
from tests.storage.artifacts import writer_of_every_view

NUM_CLASSES = 1000
MAPS = (150, 37, 37)
"""Classes and cells."""
SIDE_PX = 224
VIEWS = ViewSettings(num_views=2)
PADDED_VIEWS = ViewSettings(num_views=2, crop="scaled")
PROBLEM = problem_named("classification")


class Maps(Parts):
    """A class for each cell of a map, drawn. On the grid of the teacher's maps, not for each pixel, which with 150
    classes would be most of the step: so a step is the least it could be, and what else it holds is the more of it.
    """

    def classes(self, images: ImageSet) -> list[str]:
        return [f"class {number}" for number in range(MAPS[0])]

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> npt.NDArray[Any]:
        return np.random.default_rng(row).integers(0, MAPS[0], MAPS[1:])


@dataclass(frozen=True)
class TaughtImages:
    """Folders of an image-set and of the logits that belong to it."""

    images: Path
    logits: Path
    runtime: RuntimeConfig
    views: ViewSettings = VIEWS

    @property
    def context(self) -> StageContext:
        return StageContext({"images": self.images, "logits": self.logits}, self.images, self.runtime)


def network(name: str, problem: Problem = PROBLEM, side_px: int = SIDE_PX, inputs: str = "last") -> TaskModel:
    """An untrained timm model with 1000 classes at 224 px, or for another problem with 150 in each cell of its maps,
    in the memory order the stages use.
    """
    encoder = build_encoder(Backbone(name=name, weights="random", input_px=side_px))
    [*names] = problem.inputs()[inputs]
    num_classes = NUM_CLASSES if problem is PROBLEM else MAPS[0]
    head = problem.head(blocks_named(encoder.blocks, names), num_classes)
    return on_device(TaskModel(encoder, names, head), torch.device("cpu"))


def write(
    folder: Path,
    *,
    num_images: int,
    preprocessing: Preprocessing,
    runtime: RuntimeConfig,
    output_shape: Sequence[int] = (NUM_CLASSES,),
    views: ViewSettings = VIEWS,
) -> TaughtImages:
    """Write `num_images` pictures of 256 px and random logits of every view, with the thumbnails of what was shown.
    Where the logits are maps, the pictures have masks.
    """
    made = TaughtImages(folder / "images", folder / "logits", runtime, views)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, output_shape[0], num_images).tolist()
    masks = [mask(rng) if len(output_shape) > 1 else None for _ in labels]
    rows = (
        ImageRow(f"{row:05d}.jpg", jpeg(row, 256), 256, 256, "train", label, drawn)
        for row, (label, drawn) in enumerate(zip(labels, masks, strict=True))
    )
    write_shard(made.images, 0, rows)
    write_index(made.images, classes=[f"class {number}" for number in range(output_shape[0])], num_shards=1)
    images = ImageSet.open(made.images)
    made.logits.mkdir()
    writer = writer_of_every_view(
        made.logits,
        images.ids,
        num_views=views.num_views + 1,
        row_shape=output_shape,
        attributes={"images": images.fingerprint, "views": views.identity()},
    )
    source = ViewSource(DecodedImages(images, cache_mb=0), views, preprocessing)
    generator = torch.Generator().manual_seed(0)

    def answers(images_NCHW: Tensor) -> Tensor:
        return torch.randn(len(images_NCHW), *output_shape, generator=generator)

    run_frozen(answers, source, writer, writer.chunks(), torch.device("cpu"), made.context)
    return made


def mask(rng: np.random.Generator) -> bytes:
    """Draw a mask of 256 px in which each square of 32 is of one of 150 classes, one in eight of them of none."""
    squares_hw = rng.integers(0, MAPS[0], (8, 8), np.uint8)
    squares_hw[rng.random((8, 8)) < 1 / 8] = UNKNOWN
    return png(squares_hw.repeat(32, 0).repeat(32, 1))


def plain(
    taught: TaughtImages, model: TaskModel, training: TrainingSettings, problem: Problem = PROBLEM
) -> FinetuneLesson:
    """The lesson of finetune: the same views, labels alone."""
    images = ImageSet.open(taught.images)
    decoded = DecodedImages(images, cache_mb=taught.runtime.image_cache_mb)
    return FinetuneLesson(
        problem=problem,
        source=ViewSource(decoded, taught.views, model.preprocessing),
        rows=images.rows_of("train"),
        num_views=taught.views.num_views,
        training=training,
        seed=0,
        score=no_score,
    )


def cached(
    taught: TaughtImages, model: TaskModel, training: TrainingSettings, problem: Problem = PROBLEM
) -> DistillLesson:
    """The lesson of distill."""
    images, logits = ImageSet.open(taught.images), ViewOutputs(taught.logits)
    return DistillLesson(
        problem=problem,
        real=DistillSource.open(images, logits, taught.views, model.preprocessing, taught.runtime),
        synthetic=None,
        batch_size=training.batch_size,
        distill=DistillSettings(),
        seed=0,
        score=no_score,
    )


@dataclass(frozen=True)
class OnlineLesson(FinetuneLesson):
    """Distillation as it would be without a cache: the teacher answers within the step, to the same pixels."""

    teacher: nn.Module

    @property
    def weights(self) -> Mapping[str, float]:
        return {"task": 1 - DistillSettings().alpha, "distill": DistillSettings().alpha}

    def counts(self, batch: MicroBatch) -> Mapping[str, Tensor]:
        return {**super().counts(batch), "distill": num_answers(batch.images_NCHW)}

    def losses(self, model: nn.Module, batch: MicroBatch, step: int) -> Losses:
        with torch.no_grad():
            answers = self.teacher(batch.images_NCHW)
        outputs = model(batch.images_NCHW)
        return {
            "task": task_loss_of(PROBLEM, outputs, batch.targets),
            "distill": PROBLEM.distill_loss(outputs, answers, DistillSettings().temperature),
        }


def online(taught: TaughtImages, model: TaskModel, training: TrainingSettings, teacher: nn.Module) -> OnlineLesson:
    return OnlineLesson(**vars(plain(taught, model, training)), teacher=teacher)


def no_score(model: nn.Module) -> Score:
    return Score(0.0, 0.0)


def train(
    model: TaskModel, lesson: Lesson[Any], training: TrainingSettings, draft: Path, runtime: RuntimeConfig
) -> None:
    """Run all epochs of the settings through the Trainer, without validation, in a draft of its own: in one where
    another training has ended there would be nothing left to do.
    """
    length = num_steps(training, lesson.num_images)
    trainer = Trainer(model, training, lesson, seed=0, device=device_of(runtime), num_steps=length)
    with tempfile.TemporaryDirectory(dir=draft) as fresh:
        trainer.fit(Path(fresh), workers=runtime.workers, checkpoint_seconds=math.inf, on_progress=no_progress)
