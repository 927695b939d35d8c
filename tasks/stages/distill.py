"""Stage "distill": train the student on labels and on the teacher's cached logits; no teacher runs.

One batch holds B real images and, where there is a synthetic image-set, B * synthetic_ratio synthetic ones. Only real
ones have labels, all have outputs of the teacher: L = (1 - alpha) * mean_real(task) + alpha * mean_all(distill). With
`mix_views` each view is mixed with another of its kind, and the teacher's outputs for the two as if it were linear
between them, which is an approximation: it never saw the mixture.

Shape letters: N images, C channels, H W pixels; 9 numbers cut a view, 4 are the area in which it shows its image.

Reads `images` (image-set), their `logits`, and `probe`, with whose head it starts; where given also `synthetic`
(image-set), `synthetic_logits` and `selection`, and `settings`; writes model.json, best.safetensors, last.safetensors,
history.parquet and history.png; checkpoint.safetensors lies in the draft until the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from taskdistill.configs.stages import DistillConfig
from taskdistill.configs.training import DistillSettings, check_batches_are_shared
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.summaries import ModelSummary
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.functional.areas import common_areas
from taskdistill.tasks.functional.losses import num_answers
from taskdistill.tasks.functional.mixup import draw_mixing, mixed_images
from taskdistill.tasks.functional.shares import WHOLE, Share
from taskdistill.tasks.functional.views import NOT_PADDED
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.problem import Problem, Score, num_targets_of, problem_named, targets_of, task_loss_of
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.chosen_settings import with_chosen_settings
from taskdistill.tasks.training.distill_source import DistillSource, Draw
from taskdistill.tasks.training.launching import on_ranks
from taskdistill.tasks.training.lesson import Batch, Losses, MicroBatch
from taskdistill.tasks.training.probed import probed_model
from taskdistill.tasks.training.student import fitted, validation_score, written
from taskdistill.tasks.training.trainer import Trainer


def run(config: DistillConfig, context: StageContext) -> ModelSummary:
    """Train and write the student.

    Raises CacheMismatchError where probe, logits, images and selection are not of each other or settings were chosen
    for something else, TrainingDivergedError where the loss is no longer finite, SettingsError where a batch is too
    small for `runtime.ranks`, and what `on_ranks` raises.
    """
    config = with_chosen_settings(config, "tune-distill", context)
    check_batches_are_shared(context.runtime.ranks, training=config.training)
    on_ranks(train, config, context)  # several leave the training behind its last step, where this one continues
    trainer, lesson = train(config, context)
    taught = {"alpha": config.distill.alpha, "temperature": config.distill.temperature}
    num_synthetic = len(lesson.synthetic.rows) if lesson.synthetic else 0
    summary = written(trainer, config.problem, context)
    return summary.model_copy(update={"synthetic_images": num_synthetic, **taught})


def train(config: DistillConfig, context: StageContext) -> tuple[Trainer, "DistillLesson"]:
    """Run the training to the end, alone or as one of several ranks; raises as `run` does."""
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    model = probed_model(config.backbone, context, classes=problem.classes(images), drop_path=config.training.drop_path)
    lesson = lesson_of(config, images, model, context)
    return fitted(model, config.training, lesson, config.seed, context), lesson


def lesson_of(config: DistillConfig, images: ImageSet, model: TaskModel, context: StageContext) -> "DistillLesson":
    """Return the lesson of all training images, and of the synthetic ones where there are any; raises
    CacheMismatchError as `run` does.
    """
    problem = problem_named(config.problem).for_training(config.training, images)
    real = _opened(config, images, "logits", model.preprocessing, context)
    synthetic = _synthetic(config, model.preprocessing, context)
    for role in ("logits", "synthetic_logits"):
        if role in context.inputs:
            ViewOutputs(context.inputs[role]).require(classes=problem.classes(images), problem=config.problem)
    return DistillLesson(
        problem=problem,
        real=real,
        synthetic=synthetic,
        batch_size=config.training.batch_size,
        distill=config.distill,
        seed=config.seed,
        score=validation_score(problem, real.source, context, config.training.precision),
    )


@dataclass(frozen=True)
class DistillLesson:
    """The task loss of real images, and the divergence from the teacher's cached outputs of real and synthetic ones."""

    problem: Problem
    real: DistillSource
    synthetic: DistillSource | None
    batch_size: int
    """Real images in a batch."""
    distill: DistillSettings
    seed: int
    score: Callable[[nn.Module], Score]

    @property
    def num_images(self) -> int:
        return len(self.real.rows)

    @property
    def score_name(self) -> str:
        return self.problem.metrics[0].name

    @property
    def weights(self) -> Mapping[str, float]:
        return {"task": 1 - self.distill.alpha, "distill": self.distill.alpha}

    def draw(self, step: int) -> list[tuple[DistillSource, Draw]]:
        """Choose images and take the teacher's outputs for them, real ones first."""
        drawn = [(self.real, self.real.draw(step, self.batch_size, self.seed))]
        num_synthetic = self.distill.num_synthetic(self.batch_size)
        if self.synthetic and num_synthetic:
            drawn.append((self.synthetic, self.synthetic.draw(step, num_synthetic, self.seed)))
        return drawn

    def load(self, drawn: Sequence[tuple[DistillSource, Draw]], share: Share = WHOLE) -> Batch:
        taken = [(some, chosen.of(share)) for some, chosen in drawn]
        taken = [(some, chosen) for some, chosen in taken if len(chosen.rows)]  # of few synthetic ones maybe none
        source, real = self.real.source, taken[0][1]
        return Batch(
            ids=[name for some, chosen in drawn for name in some.ids_of(chosen)],
            pixels_NHW3=np.concatenate([some.cut(chosen) for some, chosen in taken]),
            targets=targets_of(self.problem, source.images, real.rows, real.cached.views_N9, source.preprocessing.size),
            teacher=np.concatenate([chosen.cached.outputs for _, chosen in taken]),
            shown_N4=_shown(taken),
        )

    def mixed(self, batch: MicroBatch, step: int) -> MicroBatch:
        """As it is, or with `mix_views` mixed as finetuning mixes, and the teacher's outputs along with the images."""
        distill = self.distill
        if distill.mix_views == "none":
            return batch
        rng = np.random.default_rng([self.seed, step])
        mixing = draw_mixing({distill.mix_views: distill.mix_beta}, batch.size, rng)
        mix_outputs = partial(self.problem.mix_outputs, mixing=mixing, temperature=distill.temperature)
        return MicroBatch(
            _apart(batch.images_NCHW, batch.num_labelled, partial(mixed_images, mixing=mixing)),
            self.problem.mix_targets(batch.targets[0].targets, mixing),
            _apart(_teacher(batch), batch.num_labelled, mix_outputs),
            None if batch.shown_N4 is None else _apart(batch.shown_N4, batch.num_labelled, common_areas),
        )

    def counts(self, batch: MicroBatch) -> Mapping[str, Tensor]:
        num_taught = num_answers(_teacher(batch), batch.shown_N4)
        return {"task": num_targets_of(self.problem, batch.targets), "distill": num_taught}

    def losses(self, model: nn.Module, batch: MicroBatch, step: int) -> Losses:
        # One pass over both kinds of images, real ones first: their outputs are the first `num_labelled`.
        outputs = model(batch.images_NCHW)
        return {
            "task": task_loss_of(self.problem, outputs[: batch.num_labelled], batch.targets),
            "distill": self.problem.distill_loss(outputs, _teacher(batch), self.distill.temperature, batch.shown_N4),
        }


def _shown(drawn: Sequence[tuple[DistillSource, Draw]]) -> npt.NDArray[np.float32] | None:
    """Return the area [N, 4] in which each view shows its image; None where none of the batch is padded."""
    areas = [some.shown(chosen) for some, chosen in drawn]
    if all(area is None for area in areas):
        return None
    whole = [np.tile(np.asarray(NOT_PADDED, np.float32), (len(chosen.rows), 1)) for _, chosen in drawn]
    return np.concatenate([every if area is None else area for area, every in zip(areas, whole, strict=True)])


def _apart(rows: Tensor, num_labelled: int, mix: Callable[[Tensor], Tensor]) -> Tensor:
    """Mix real rows with real ones and synthetic ones with synthetic ones: the others have no labels."""
    return torch.cat([mix(some) for some in (rows[:num_labelled], rows[num_labelled:]) if len(some)])


def _teacher(batch: MicroBatch) -> Tensor:
    if batch.teacher is None:  # an error of the program: `load` puts them into every batch
        raise TypeError("a distillation batch holds the teacher's outputs")
    return batch.teacher


def _synthetic(config: DistillConfig, preprocessing: Preprocessing, context: StageContext) -> DistillSource | None:
    """Open the synthetic images, or those that a selection keeps, where there are some."""
    if ("synthetic" in context.inputs) != ("synthetic_logits" in context.inputs):
        raise CacheMismatchError(
            "synthetic images teach by their logits: pass both 'synthetic' and 'synthetic_logits', or neither"
        )
    if "selection" in context.inputs and "synthetic" not in context.inputs:
        raise CacheMismatchError("a 'selection' is one of synthetic images: pass 'synthetic' too, or neither")
    if "synthetic" not in context.inputs:
        return None
    images = ImageSet.open(context.inputs["synthetic"])
    kept = _kept(images, context) if "selection" in context.inputs else None
    return _opened(config, images, "synthetic_logits", preprocessing, context, kept)


def _kept(images: ImageSet, context: StageContext) -> AbstractSet[str]:
    """Return the ids that the selection keeps; CacheMismatchError where it is of other images."""
    folder = context.inputs["selection"]
    if (of := Manifest.read(folder).input_refs["synthetic"]).fingerprint != images.fingerprint:
        raise CacheMismatchError(
            f"the selection is of {of.short}, the synthetic images are image-set@{images.fingerprint[:12]}: run select "
            "on these first"
        )
    return {row["id"] for row in read_table(folder / "selection.parquet") if row["is_kept"]}


def _opened(
    config: DistillConfig,
    images: ImageSet,
    role: str,
    preprocessing: Preprocessing,
    context: StageContext,
    kept: AbstractSet[str] | None = None,
) -> DistillSource:
    outputs = ViewOutputs(context.inputs[role])
    return DistillSource.open(
        images, outputs, config.views, preprocessing, context.runtime, kept=kept, kept_in=context.views
    )
