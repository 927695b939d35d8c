"""Images with a teacher's cached logits, written straight in the store's formats, and the runs that train on them.

The step is the project's own: batch makers and losses of tasks.stages.finetune and tasks.stages.distill, in the
Trainer.
Labels and logits are random: what a step costs does not depend on what is learnt.
"""

import dataclasses
import functools
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from configs.base import RuntimeConfig
from configs.data import ViewSettings
from configs.models import Backbone
from configs.stages import DistillConfig, FinetuneConfig, TrainingSettings
from storage.image_set import ImageRow, ImageSet, write_index, write_shard
from storage.view_outputs import ViewOutputsWriter
from tasks.data.batches import DecodedImages, ViewSource
from tasks.inference.frozen import run_frozen
from tasks.models.encoder import blocks_named, build_encoder
from tasks.models.preprocessing import Preprocessing
from tasks.models.task_model import TaskModel, device_of, on_device
from tasks.problems.problem import Score, problem_named
from tasks.stage import StageContext, no_progress
from tasks.stages import distill, finetune
from tasks.training.trainer import Batch, Part, Terms, Trainer, Work
from tests.benchmarks.pictures import jpeg

NUM_CLASSES = 1000
SIDE_PX = 224
VIEWS = ViewSettings(num_views=2)
PROBLEM = problem_named("classification")

Batches = Callable[[int], Iterator[Callable[[], Batch]]]
"""From a first step on, what makes each step's batch."""


@dataclasses.dataclass(frozen=True)
class TaughtImages:
    """Folders of an image-set and of the logits that belong to it."""

    images: Path
    logits: Path
    runtime: RuntimeConfig

    @property
    def context(self) -> StageContext:
        return StageContext({"images": self.images, "logits": self.logits}, self.images, self.runtime)


def network(name: str) -> TaskModel:
    """An untrained timm model with 1000 classes at 224 px, in the memory order the stages use."""
    encoder = build_encoder(Backbone(name=name, weights="random", input_px=SIDE_PX))
    return on_device(
        TaskModel(encoder, ["last"], PROBLEM.head(blocks_named(encoder.blocks, ["last"]), NUM_CLASSES)),
        torch.device("cpu"),
    )


def write(folder: Path, *, num_images: int, preprocessing: Preprocessing, runtime: RuntimeConfig) -> TaughtImages:
    """Write `num_images` pictures of 256 px and random logits of every view, with the thumbnails of what was shown."""
    made = TaughtImages(folder / "images", folder / "logits", runtime)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, num_images).tolist()
    rows = (ImageRow(f"{row:05d}.jpg", jpeg(row, 256), 256, 256, "train", label) for row, label in enumerate(labels))
    write_shard(made.images, 0, rows)
    write_index(made.images, classes=[f"class {number}" for number in range(NUM_CLASSES)], num_shards=1)
    images = ImageSet.open(made.images)
    made.logits.mkdir()
    writer = ViewOutputsWriter(
        made.logits,
        ids=images.ids,
        num_views=VIEWS.num_views + 1,
        row_shape=(NUM_CLASSES,),
        attributes={"images": images.fingerprint, "views": VIEWS.identity()},
    )
    source = ViewSource(DecodedImages(images, cache_mb=0), VIEWS, preprocessing)
    generator = torch.Generator().manual_seed(0)

    def answers(images_NCHW: Tensor) -> Tensor:
        return torch.randn(len(images_NCHW), NUM_CLASSES, generator=generator)

    run_frozen(answers, source, writer, writer.chunks(), torch.device("cpu"), made.context)
    return made


def plain(taught: TaughtImages, model: TaskModel, training: TrainingSettings) -> Work:
    """The work of finetune: the same views, labels alone."""
    config = FinetuneConfig(views=VIEWS, training=training)
    images = ImageSet.open(taught.images)
    decoded = DecodedImages(images, cache_mb=taught.runtime.image_cache_mb)
    batches = functools.partial(finetune._batches, config, PROBLEM, ViewSource(decoded, VIEWS, model.preprocessing))
    terms = functools.partial(finetune._terms, PROBLEM, training, config.seed)
    return _work(len(images), training, batches, terms)


def cached(taught: TaughtImages, model: TaskModel, training: TrainingSettings) -> Work:
    """The work of distill."""
    config = DistillConfig(views=VIEWS, training=training)
    images = ImageSet.open(taught.images)
    real = distill._distill_source(config, images, "logits", model.preprocessing, taught.context)
    batches = functools.partial(distill._batches, config, PROBLEM, real, None)
    return _work(len(images), training, batches, functools.partial(distill._terms, PROBLEM, config.distill))


def online(taught: TaughtImages, model: TaskModel, training: TrainingSettings, teacher: nn.Module) -> Work:
    """The work of distill as it would be without a cache: the teacher answers within the step, to the same pixels."""
    without = plain(taught, model, training)
    settings = DistillConfig().distill

    def terms(student: nn.Module, part: Part, step: int) -> Terms:
        with torch.no_grad():
            answers = teacher(part.images_NCHW)
        return distill._terms(PROBLEM, settings, student, part._replace(teacher=answers), step)

    return dataclasses.replace(without, terms=terms)


def train(model: TaskModel, work: Work, training: TrainingSettings, draft: Path, runtime: RuntimeConfig) -> None:
    """Run all epochs of the settings through the Trainer, without validation, in a draft of its own: in one where
    another training has ended there would be nothing left to do.
    """
    trainer = Trainer(model, training, work, seed=0, device=device_of(runtime))
    with tempfile.TemporaryDirectory(dir=draft) as fresh:
        trainer.fit(Path(fresh), workers=runtime.workers, checkpoint_seconds=math.inf, on_progress=no_progress)


def _work(num_images: int, training: TrainingSettings, batches: Batches, terms: Callable[..., Terms]) -> Work:
    num_steps = math.ceil(training.epochs * num_images / training.batch_size)

    def jobs(first_step: int) -> Iterator[Callable[[], Batch]]:
        # The endless stream is cut at the last step, so that no batch is made that no step takes.
        return itertools.islice(batches(first_step), num_steps - first_step)

    return Work(num_images, jobs, terms, score=lambda model: Score(0.0, 0.0), score_name="none")
