"""Stage "finetune": train the probed network on labels alone. The control of every claim, and a possible teacher.

Shape letters: N images, C channels, H W pixels.

Reads `images` (image-set) and `probe`, with whose head it starts, and where given `settings`; writes model.json,
best.safetensors, last.safetensors, history.parquet and history.png; checkpoint.safetensors lies in the draft until the
commit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import TrainingSettings, check_batches_are_shared
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import ModelSummary
from taskdistill.tasks.data.batches import ViewSource, halves
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.functional.mixup import draw_mixing, mixed_images
from taskdistill.tasks.functional.order import visits
from taskdistill.tasks.functional.shares import WHOLE, Share
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.labelled import LabelledViews
from taskdistill.tasks.problems.problem import Problem, Score, num_targets_of, problem_named, task_loss_of
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.chosen_settings import with_chosen_settings
from taskdistill.tasks.training.launching import on_ranks
from taskdistill.tasks.training.lesson import Batch, Losses, MicroBatch
from taskdistill.tasks.training.probed import probed_model
from taskdistill.tasks.training.student import fitted, validation_score, written
from taskdistill.tasks.training.trainer import Trainer


def run(config: FinetuneConfig, context: StageContext) -> ModelSummary:
    """Train and write the network; CacheMismatchError where the probe is of another backbone or other classes, or
    settings were chosen for something else; TrainingDivergedError where the loss is no longer finite; SettingsError
    where a batch is too small for `runtime.ranks`, and what `on_ranks` raises.
    """
    config = with_chosen_settings(config, "tune-finetune", context)
    check_batches_are_shared(context.runtime.ranks, training=config.training)
    on_ranks(train, config, context)  # several leave the training behind its last step, where this one continues
    return written(train(config, context), config.problem, context)


def train(config: FinetuneConfig, context: StageContext) -> Trainer:
    """Run the training to the end, alone or as one of several ranks; raises as `run` does."""
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    model = probed_model(config.backbone, context, classes=problem.classes(images), drop_path=config.training.drop_path)
    return fitted(model, config.training, lesson_of(config, images, model, context), config.seed, context)


def lesson_of(config: FinetuneConfig, images: ImageSet, model: TaskModel, context: StageContext) -> "FinetuneLesson":
    """Return the lesson of all training images."""
    problem = problem_named(config.problem).for_training(config.training, images)
    rows = images.rows_of("train")
    images_mb, views_mb = halves(context.runtime.image_cache_mb)
    source = view_source(
        images,
        config.views,
        model.preprocessing,
        context.runtime,
        images_mb=images_mb,
        views_mb=views_mb,
        kept_in=context.views,
    )
    return FinetuneLesson(
        problem=problem,
        source=source,
        rows=rows,
        num_views=config.views.num_augmented(len(rows)),
        training=config.training,
        seed=config.seed,
        score=validation_score(problem, source, context, config.training.precision),
    )


class Draw(NamedTuple):
    """Images chosen for one batch, and which view of each is shown."""

    rows: npt.NDArray[np.int64]
    views: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FinetuneLesson:
    """The loss of labels alone, on mixtures of images where mixup or cutmix is on (either at random where both are)."""

    problem: Problem
    source: ViewSource
    rows: npt.NDArray[np.int64]
    """Of the training images."""
    num_views: int
    """Augmented ones of each image."""
    training: TrainingSettings
    seed: int
    score: Callable[[nn.Module], Score]

    @property
    def num_images(self) -> int:
        return len(self.rows)

    @property
    def score_name(self) -> str:
        return self.problem.metrics[0].name

    @property
    def weights(self) -> Mapping[str, float]:
        return {"task": 1.0}

    def draw(self, step: int) -> Draw:
        """Epoch e shows augmented view 1 + e mod K; the clean view where there is no augmented one."""
        size = self.training.batch_size
        items, epochs = visits(step * size, size, size=len(self.rows), seed=self.seed)
        return Draw(self.rows[items], 1 + epochs % self.num_views if self.num_views else np.zeros_like(epochs))

    def load(self, drawn: Draw, share: Share = WHOLE) -> Batch:
        source, taken = self.source, share.of(len(drawn.rows))
        rows, views = drawn.rows[taken].tolist(), drawn.views[taken].tolist()
        pixels_NHW3, targets = LabelledViews(self.problem, source).batch(rows, views)
        return Batch([source.images.ids[row] for row in drawn.rows], pixels_NHW3, targets)

    def mixed(self, batch: MicroBatch, step: int) -> MicroBatch:
        """Chosen by a generator of (seed, step), so that a continued run mixes alike; one share for the batch."""
        # Not torch's generator, from which stochastic depth draws: mixup would change which layers are dropped.
        rng = np.random.default_rng([self.seed, step])
        betas = {"mixup": self.training.mixup, "cutmix": self.training.cutmix}
        if not (used := {kind: beta for kind, beta in betas.items() if beta}):
            return batch
        mixing = draw_mixing(used, batch.size, rng)
        targets = self.problem.mix_targets(batch.targets[0].targets, mixing)
        return MicroBatch(mixed_images(batch.images_NCHW, mixing), targets)

    def counts(self, batch: MicroBatch) -> Mapping[str, Tensor]:
        return {"task": num_targets_of(self.problem, batch.targets)}

    def losses(self, model: nn.Module, batch: MicroBatch, step: int) -> Losses:
        return {"task": task_loss_of(self.problem, model(batch.images_NCHW), batch.targets)}
