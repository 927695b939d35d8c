"""Settings of each stage beyond ingest. A stage's config is composed of sections that an experiment shares."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import AddedLater, Seed, Settings, StageConfig
from taskdistill.configs.choices import ProblemName
from taskdistill.configs.data import TrainViews, ViewSettings, check_crop
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.folds import Calibration, NumFolds, TrainLogits, check_features_for_folds
from taskdistill.configs.models import Backbone
from taskdistill.configs.problem_options import HeadKind, ProbeInput, Vector, check_options
from taskdistill.configs.shapes import check_shapes
from taskdistill.configs.training import DistillSettings, TrainingSettings, check_distillable

StoredLogits = Literal["fp16", "int8"]
"""How each number of logits is kept."""


class CutsViews(StageConfig):
    """A stage that cuts views."""

    @model_validator(mode="after")
    def _crops_are_cut_as_they_are_set(self) -> Self:
        check_crop(dict(self)["views"])
        return self


class OnViews(CutsViews):
    """A stage that shows views to a network which its settings name."""

    @model_validator(mode="after")
    def _views_have_the_shape_of_its_pictures(self) -> Self:
        settings = dict(self)
        check_shapes(settings["views"], {"backbone": settings["backbone"]})
        return self


class ExtractConfig(OnViews):
    """From images to features of a frozen encoder: every image, every view, once."""

    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast; about twice as fast on recent GPUs, slower for narrow networks on a CPU."""
    train_views: Annotated[TrainViews, AddedLater] = "augmented"
    """Which views of training images are shown; of others, always the clean one alone. A set of training images alone,
    as blends are, is shown in both whatever this says: their choice goes by the clean view.
    """
    blocks: Annotated[tuple[Vector, ...], AddedLater] = ()
    """Which vectors of an image are kept, those that heads are to see; empty: all that the encoder has."""


class ProbeSettings(Settings):
    """A head on frozen features; a whole grid of inputs and learning rates is trained at once."""

    inputs: tuple[ProbeInput, ...] = Field(default=("last",), min_length=1)
    """What the head may see: the summary of the last layer (CLS token, or pooled map), of the last 4 layers
    concatenated, each with or without the mean of the patch tokens; where each pixel has a class the map of the last
    layer, or of the last 4, which of a convolutional network are a pyramid (maps have no mean). The best is chosen on
    validation.
    """
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1), min_length=1
    )
    """Peak learning rates; of sgd for a batch of 256, scaled linearly with the batch size, of adamw as they are."""
    steps: int = Field(default=1000, ge=1, le=100_000_000)
    """Optimiser steps."""
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
    optimizer: Annotated[Literal["sgd", "adamw"], AddedLater] = "sgd"
    """sgd: momentum 0.9, no weight decay, cosine to 0, as is common for classification. adamw: weight decay 1e-4,
    warm-up over the first 3.75 % of the steps, then straight to 0, as is common for segmentation (there with 1e-3).
    """
    head: Annotated[HeadKind, AddedLater] = "linear"
    """What is trained on the features; whoever goes on with the probe keeps it. Others than linear are for problems in
    which each pixel has a class. fcn: 3 x 3 convolutions. lraspp: as in MobileNetV3. segformer-mlp: as in SegFormer.
    """


class ProbeConfig(StageConfig):
    """From features and labels to a head."""

    problem: ProblemName = "classification"
    """What is learnt."""
    probe: ProbeSettings = ProbeSettings()

    @model_validator(mode="after")
    def _the_problem_has_this(self) -> Self:
        check_options(self.problem, probe=self.probe)
        return self


class ProbeImagesConfig(OnViews):
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
    def _the_problem_has_this(self) -> Self:
        check_options(self.problem, probe=self.probe)
        return self

    @model_validator(mode="after")
    def _heads_see_all_images(self) -> Self:
        check_features_for_folds(self.probe.folds, "probe")
        return self


class PrecomputeConfig(StageConfig):
    """From a probe and cached features to logits; raw, never at a fixed temperature."""

    train_logits: Annotated[TrainLogits, AddedLater] = "in-sample"
    """Whose logits training images get. in-sample: those of the probe's head, which was trained on them; out-of-fold:
    each those of the head that left its fold out (probe.folds). All other images get those of the probe's head.
    """
    calibration: Annotated[Calibration, AddedLater] = "none"
    """temperature: all logits are divided by the one number that makes the loss on the validation images smallest (Guo
    et al., arXiv 1706.04599), from 0.25 to 4.
    """
    logits: Annotated[StoredLogits, AddedLater] = "fp16"
    """How they are kept; int8: in half the bytes, with a scale and an offset for the logits of each view."""

    @property
    def reads_images(self) -> bool:
        """Whether splits and labels of the images are needed."""
        return self.train_logits != "in-sample" or self.calibration != "none"


class PrecomputeImagesConfig(CutsViews):
    """From a finetuned teacher and images to logits; here the teacher does run, once for every view."""

    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    train_views: Annotated[TrainViews, AddedLater] = "augmented"
    """Which views of training images are shown, as in extract."""
    logits: Annotated[StoredLogits, AddedLater] = "fp16"
    """How they are kept, as in PrecomputeConfig."""


class PrecomputeProbedConfig(OnViews):
    """From a probe and images to logits where the features are not cached: the frozen encoder runs once a view."""

    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    train_views: TrainViews = "augmented"
    """Which views of training images are shown, as in ExtractConfig."""
    logits: Annotated[StoredLogits, AddedLater] = "fp16"
    """How they are kept, as in PrecomputeConfig."""


MeanOf = Literal["log-probabilities", "probabilities"]

MAX_TEACHERS = 8
"""As many teachers as are joined into one."""


class CombineConfig(StageConfig):
    """From the logits of several teachers to those of one, their mean; as log-probabilities."""

    mean_of: MeanOf = "log-probabilities"
    """log-probabilities: the geometric mean of the teachers' probabilities, high where all agree. probabilities: the
    arithmetic mean, high where one is sure.
    """
    logits: Annotated[StoredLogits, AddedLater] = "fp16"
    """How they are kept, as in PrecomputeConfig."""


class FinetuneConfig(OnViews):
    """From images and a probe to a model trained on labels alone: the control of every claim, and a teacher too."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    seed: Seed = 0
    """Decides order, stochastic depth and mixing."""

    @model_validator(mode="after")
    def _the_problem_has_this(self) -> Self:
        check_options(self.problem, training=self.training)
        return self


class DistillConfig(OnViews):
    """From images and a teacher's cached logits to the student."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    distill: DistillSettings = DistillSettings()
    seed: Seed = 0
    """Decides order, stochastic depth and mixing."""

    @model_validator(mode="after")
    def _the_teacher_has_seen_what_the_student_sees(self) -> Self:
        check_distillable(self.views, self.training, self.distill)
        check_options(self.problem, training=self.training)
        return self


class EvaluateConfig(StageConfig):
    """From a model and images to scores, predictions and a confusion matrix."""

    problem: ProblemName = "classification"
    """What is learnt."""
    splits: tuple[Literal["val", "test"], ...] = ("val", "test")
    """Which images are scored."""
    windows: Annotated[WindowSettings, AddedLater] = WindowSettings()
    """How the images are shown; cached logits are of the clean view."""

    @model_validator(mode="after")
    def _the_problem_can_be_judged_so(self) -> Self:
        check_options(self.problem, windows=self.windows)
        return self


class EvaluateProbedConfig(EvaluateConfig):
    """From a probe, the backbone that it is of, and images to the same."""

    backbone: Backbone = Backbone()
