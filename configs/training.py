"""Settings of the optimisation that finetuning and distillation share, and of what the teacher adds to it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import AddedLater, Settings
from taskdistill.configs.data import ViewSettings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.problem_options import ClassWeights, TaskLoss

Keep = Literal["best", "last", "last-unless-worse"]
"""Which weights of a training are kept."""


class TrainingSettings(Settings):
    """The optimisation that finetuning and distillation share, so that they are compared at equal effort."""

    epochs: int = Field(default=20, ge=1, le=1_000_000)
    """Passes over the labelled training images."""
    batch_size: int = Field(default=32, ge=1, le=1_000_000)
    """Labelled images per optimiser step, all accumulated parts together."""
    accumulate: int = Field(default=1, ge=1)
    """Parts a batch is computed in, to save memory."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decay of weights; biases and norms have none."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly; cosine to 0 after it."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it; 1: none."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth, where the backbone has it."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0: unlimited."""
    batchnorm: Literal["frozen", "train"] = "frozen"
    """Statistics of BatchNorm layers, those of the head too; frozen is better on few images."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the averaged weights, which are then the ones evaluated and kept; 0: none."""
    mixup: float = Field(default=0.0, ge=0, le=1000)
    """Beta parameter of mixup; 0: none. Not together with cached logits."""
    cutmix: float = Field(default=0.0, ge=0, le=1000)
    """Beta parameter of cutmix; 0: none. Not together with cached logits."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    validate_every: Annotated[int, AddedLater] = Field(default=1, ge=1)
    """Epochs from one validation to the next; the last step is always validated. Where `min_steps` makes the training
    longer, there are as many validations, further apart.
    """
    min_steps: Annotated[int, AddedLater] = Field(default=0, ge=0, le=100_000_000)
    """Optimiser steps at least: where `epochs` passes over few images are fewer, training goes on for more passes."""
    head_first: Annotated[float, AddedLater] = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the head alone learns and the encoder is frozen; after it all learns (linear probing
    then fine-tuning, arXiv 2202.10054). 0: all from the start, as the head is a probe already.
    """
    loss: Annotated[TaskLoss, AddedLater] = "cross-entropy"
    """What is learnt from labels. Where each pixel has a class, also +dice or +lovasz: how far the areas of the answers
    and of the mask differ is added, for each class that an image has, however few its pixels are.
    """
    class_weights: Annotated[ClassWeights, AddedLater] = "none"
    """inverse-frequency: where each pixel has a class, pixels of rare classes count more, by the median of the classes'
    frequencies divided by their own.
    """
    keep: Keep = "best"
    """Which weights are evaluated: the best on validation, where those it starts from take part; those of the last
    step; or these unless the best ones score higher by more than their standard error, as few images tell no more.
    """

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be cut into {self.accumulate} equal parts: make it a multiple "
                "of accumulate"
            )
        return self

    @model_validator(mode="after")
    def _batchnorm_has_images_to_compare(self) -> Self:
        if self.batchnorm == "train" and self.batch_size <= self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} and accumulate {self.accumulate} leave one image in each part of a "
                "batch, and batchnorm 'train' needs the statistics of at least two: set batchnorm to 'frozen', or "
                "batch_size to at least twice accumulate"
            )
        return self

    @model_validator(mode="after")
    def _images_have_others_to_be_mixed_with(self) -> Self:
        mixing = " and ".join(name for name in ("mixup", "cutmix") if getattr(self, name))
        if mixing and self.batch_size == 1:
            raise ValueError(
                f"batch_size 1 leaves one image in a batch, and {mixing} would mix it with itself: set {mixing} to 0, "
                "or batch_size to at least 2"
            )
        return self


class TeacherFinetuning(TrainingSettings):
    """The optimisation that finetunes a teacher."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW; lower than a student's, as a large network has more to forget."""


class DistillSettings(Settings):
    """(1 - alpha) * task + alpha * T^2 * KL(teacher || student); arXiv 2402.11305."""

    alpha: float = Field(default=0.75, ge=0, le=1)
    """Weight of the teacher against the labels."""
    temperature: float = Field(default=2.0, ge=1e-3, le=1e4)
    """Softens both distributions; large values compare the small probabilities too."""
    synthetic_ratio: float = Field(default=1.0, ge=0, le=1000)
    """Synthetic or unlabelled images per labelled one in a batch, when there is a set of them."""
    mix_views: Annotated[Literal["none", "mixup", "cutmix"], AddedLater] = "none"
    """Mix each view with another one whose logits are known too, and their labels likewise. An approximation: the
    teacher never saw the mixture; the same mixture of its two answers, as probabilities at `temperature`, stands for
    what it would say. The finetuned student, the control, is shown the same mixtures.
    """
    mix_beta: Annotated[float, AddedLater] = Field(default=0.8, gt=0, le=1000)
    """Beta parameter of mix_views."""

    def num_synthetic(self, batch_size: int) -> int:
        """Return how many synthetic images go along with a batch of real ones."""
        return round(batch_size * self.synthetic_ratio)


def check_distillable(views: ViewSettings, training: TrainingSettings, distill: DistillSettings) -> None:
    """Raise ValueError where cached logits could not describe what the student would be shown."""
    if training.mixup or training.cutmix:
        raise ValueError(
            "training.mixup and training.cutmix must be 0 when distilling from cached logits: the teacher has seen "
            "each view, never the mixture of two, and its logits are not linear in the pixels. Set both to 0; "
            "synthetic images (ImageMixer) are the mixing that a cache can hold, and distill.mix_views (mixup or "
            "cutmix) mixes two views whose logits are both known, as an approximation"
        )
    if distill.mix_views != "none" and training.batch_size == 1:
        raise ValueError(
            f"training.batch_size 1 leaves one image in a batch, and distill.mix_views {distill.mix_views!r} would mix "
            "it with itself: set distill.mix_views to none, or training.batch_size to at least 2"
        )
    if views.num_views == 0:
        raise ValueError("views.num_views must be at least 1 to distil: the student trains on augmented views")


def check_batches_are_shared(ranks: int, **trainings: TrainingSettings) -> None:
    """Raise SettingsError where a batch of one of these sections is too small for so many ranks: each takes pairs of
    images, one for each of the parts it computes its share in.
    """
    for section, training in trainings.items():
        if ranks > 1 and training.batch_size // 2 < ranks * training.accumulate:
            raise SettingsError(
                f"{section}.batch_size {training.batch_size} is too small for runtime.ranks {ranks} with "
                f"{section}.accumulate {training.accumulate}: each rank takes at least two images for each part. Set "
                f"batch_size to {2 * ranks * training.accumulate} or more, or ranks to "
                f"{max(1, training.batch_size // 2 // training.accumulate)}"
            )


def check_synthetic_images_teach(distill: DistillSettings, training: TrainingSettings) -> None:
    """Raise SettingsError where a student would be shown no synthetic images, or learn nothing from them."""
    if not distill.num_synthetic(training.batch_size):
        raise SettingsError(
            f"distill.synthetic_ratio {distill.synthetic_ratio:g} gives no synthetic image to a batch of "
            f"training.batch_size {training.batch_size}, so that they would be made for nothing: raise one of the two, "
            "or leave synthetic images out (synthetic_images: none)"
        )
    if not distill.alpha:
        raise SettingsError(
            "distill.alpha is 0, so that labels alone teach, and synthetic images have none: raise it, or leave "
            "synthetic images out (synthetic_images: none)"
        )
