"""Settings of each stage beyond ingest. A stage's config is composed of sections that an experiment shares."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.base import AddedLater, Seed, Settings, StageConfig
from configs.choices import ProblemName
from configs.data import TrainViews, ViewSettings
from configs.errors import SettingsError
from configs.folds import Calibration, NumFolds, TrainLogits, check_features_for_folds
from configs.models import Backbone

ProbeInput = Literal["last", "last4", "last+mean", "last4+mean"]


class ExtractConfig(StageConfig):
    """From images to features of a frozen encoder: every image, every view, once."""

    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast; about twice as fast on recent GPUs, slower for narrow networks on a CPU."""
    train_views: Annotated[TrainViews, AddedLater] = "augmented"
    """Which views of training images are shown; of others, always the clean one alone. A set of training images alone,
    as blends are, is shown in both whatever this says: their choice goes by the clean view.
    """


class ProbeSettings(Settings):
    """A linear head on frozen features; a whole grid of inputs and learning rates is trained at once."""

    inputs: tuple[ProbeInput, ...] = Field(default=("last",), min_length=1)
    """What the head may see: the summary of the last layer (CLS token, or pooled map), of the last 4 layers
    concatenated, each with or without the mean of the patch tokens. The best is chosen on validation.
    """
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1), min_length=1
    )
    """For a batch of 256; scaled linearly with the batch size."""
    steps: int = Field(default=1000, ge=1, le=100_000_000)
    """Steps of SGD (momentum 0.9, no weight decay, cosine to 0)."""
    batch_size: int = Field(default=256, ge=1, le=1_000_000)
    """Features per step."""
    train_on: Literal["clean", "augmented"] = "augmented"
    """Which views of the training images the head sees."""
    seed: Seed = 0
    """Decides initial weights and order."""
    folds: Annotated[NumFolds, AddedLater] = 0
    """Folds that training and validation images are dealt to, each class evenly: with the best input and learning rate
    one more head is trained for each, without the images of its fold. 0: none, or 2 to 20.
    """


class ProbeConfig(StageConfig):
    """From features and labels to a head."""

    problem: ProblemName = "classification"
    """What is learnt."""
    probe: ProbeSettings = ProbeSettings()


class ProbeImagesConfig(StageConfig):
    """From images and labels to a head, each view shown anew to the frozen encoder: for outputs too large to cache."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast of the encoder."""
    probe: ProbeSettings = ProbeSettings()

    @model_validator(mode="after")
    def _there_are_views_to_train_on(self) -> Self:
        if self.probe.train_on == "augmented" and not self.views.num_views:
            raise ValueError(
                "probe.train_on is 'augmented', but views.num_views is 0: set it to 'clean', or views.num_views to at "
                "least 1"
            )
        return self

    @model_validator(mode="after")
    def _heads_see_all_images(self) -> Self:
        check_features_for_folds(self.probe.folds, "probe")
        return self


class PrecomputeConfig(StageConfig):
    """From a probe and cached features to logits; raw, in fp16, never at a fixed temperature."""

    train_logits: Annotated[TrainLogits, AddedLater] = "in-sample"
    """Whose logits training images get. in-sample: those of the probe's head, which was trained on them; out-of-fold:
    each those of the head that left its fold out (probe.folds). All other images get those of the probe's head.
    """
    calibration: Annotated[Calibration, AddedLater] = "none"
    """temperature: all logits are divided by the one number that makes the loss on the validation images smallest (Guo
    et al., arXiv 1706.04599), from 0.25 to 4.
    """


class PrecomputeImagesConfig(StageConfig):
    """From a finetuned teacher and images to logits; here the teacher does run, once for every view."""

    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    train_views: Annotated[TrainViews, AddedLater] = "augmented"
    """Which views of training images are shown, as in extract."""


class PrecomputeProbedConfig(StageConfig):
    """From a probe and images to logits where the features are not cached: the frozen encoder runs once a view."""

    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    train_views: TrainViews = "augmented"
    """Which views of training images are shown, as in ExtractConfig."""


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
    """Statistics of BatchNorm layers; frozen is better on few images."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the averaged weights, which are then the ones evaluated and kept; 0: none."""
    mixup: float = Field(default=0.0, ge=0, le=1000)
    """Beta parameter of mixup; 0: none. Not together with cached logits."""
    cutmix: float = Field(default=0.0, ge=0, le=1000)
    """Beta parameter of cutmix; 0: none. Not together with cached logits."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    validate_every: Annotated[int, AddedLater] = Field(default=1, ge=1)
    """Epochs from one validation to the next; the last step is always validated."""
    keep: Literal["best", "last"] = "best"
    """Which weights are evaluated: the best on validation, where those it starts from take part, or those of the last
    step. Both are written.
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


class FinetuneConfig(StageConfig):
    """From images and a probe to a model trained on labels alone: the control of every claim, and a teacher too."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    seed: Seed = 0
    """Decides order, stochastic depth and mixing."""


class DistillSettings(Settings):
    """(1 - alpha) * task + alpha * T^2 * KL(teacher || student); arXiv 2402.11305."""

    alpha: float = Field(default=0.75, ge=0, le=1)
    """Weight of the teacher against the labels."""
    temperature: float = Field(default=2.0, ge=1e-3, le=1e4)
    """Softens both distributions; large values compare the small probabilities too."""
    synthetic_ratio: float = Field(default=1.0, ge=0, le=1000)
    """Synthetic images per real one in a batch, when there is a synthetic image-set."""

    def num_synthetic(self, batch_size: int) -> int:
        """Return how many synthetic images go along with a batch of real ones."""
        return round(batch_size * self.synthetic_ratio)


def check_distillable(views: ViewSettings, training: TrainingSettings) -> None:
    """Raise ValueError where cached logits could not describe what the student would be shown."""
    if training.mixup or training.cutmix:
        raise ValueError(
            "training.mixup and training.cutmix must be 0 when distilling from cached logits: the teacher has seen "
            "each view, never the mixture of two, and its logits are not linear in the pixels. Set both to 0; "
            "synthetic images (ImageMixer) are the mixing that a cache can hold"
        )
    if views.num_views == 0:
        raise ValueError("views.num_views must be at least 1 to distil: the student trains on augmented views")


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


class DistillConfig(StageConfig):
    """From images and a teacher's cached logits to the student."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    distill: DistillSettings = DistillSettings()
    seed: Seed = 0
    """Decides order and stochastic depth."""

    @model_validator(mode="after")
    def _the_teacher_has_seen_what_the_student_sees(self) -> Self:
        check_distillable(self.views, self.training)
        return self


class EvaluateConfig(StageConfig):
    """From a model and images to scores, predictions and a confusion matrix."""

    problem: ProblemName = "classification"
    """What is learnt."""
    splits: tuple[Literal["val", "test"], ...] = ("val", "test")
    """Which images are scored."""
