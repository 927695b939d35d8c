"""Settings that choose themselves: which values are tried, and how much that may cost."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import Seed, Settings
from taskdistill.configs.choices import ProblemName
from taskdistill.configs.data import ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.problem_options import check_options
from taskdistill.configs.stages import OnViews
from taskdistill.configs.training import DistillSettings, TrainingSettings, check_distillable


class TuningSettings(Settings):
    """Which settings of the students are chosen on validation, and among which values.

    The value that stands in `training` or `distill` is always tried too. Finetuned and distilled student are tuned
    alike, each with the whole budget.
    """

    search: Literal["none", "halving"] = "none"
    """halving: all candidates train for a short time, the better half for longer, and so on (successive halving). none:
    the students train with the settings as they are.
    """
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1e-4, 3e-4, 1e-3), min_length=1)
    """Values of training.learning_rate."""
    alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(0.5, 0.8, 1.0), min_length=1)
    """Values of distill.alpha; 0, which is the finetuned student, is none of them."""
    temperatures: tuple[Annotated[float, Field(ge=1e-3, le=1e4)], ...] = Field(default=(1.0, 2.0, 4.0), min_length=1)
    """Values of distill.temperature."""
    budget: float = Field(default=1.6, gt=0, lt=2)
    """What the choice of one student's settings may cost: its optimiser steps, in trainings of one student."""
    min_steps: int = Field(default=80, ge=1)
    """Optimiser steps of the shortest trial. A high learning rate spoils a pretrained network before it betters it, so
    that shorter trials choose too low a rate.
    """
    folds: int = Field(default=3, ge=2, le=20)
    """Where validation is small: into how many parts the training and validation images are dealt. Each rung holds out
    another one; the student's probe is made with a head for each of them.
    """
    seed: Seed = 0
    """Decides order, stochastic depth and mixing of what is tried."""

    def identity(self) -> dict[str, Any]:
        """Leave out what a chain asks and a stage does not: whether to choose, and the folds, which the probe has."""
        return {name: value for name, value in super().identity().items() if name not in ("search", "folds")}


class TuneFinetuneConfig(OnViews):
    """From images and a probe to the settings of finetuning that are best on validation."""

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    tuning: TuningSettings = TuningSettings()

    @model_validator(mode="after")
    def _the_problem_has_this(self) -> Self:
        check_options(self.problem, training=self.training)
        return self

    def identity(self) -> dict[str, Any]:
        """Leave out what finetuning has not."""
        fields = super().identity()
        tried = {name: value for name, value in fields["tuning"].items() if name not in ("alphas", "temperatures")}
        return fields | {"tuning": tried}

    def default(self) -> dict[str, float]:
        """Return the values that stay where nothing else is better."""
        return {"learning_rate": self.training.learning_rate}

    def lists(self) -> dict[str, tuple[float, ...]]:
        """Return the values to try of each of these settings."""
        return {"learning_rate": self.tuning.learning_rates}


class TuneDistillConfig(OnViews):
    """From images, a probe and a teacher's cached logits to the settings of distillation that are best on
    validation.
    """

    problem: ProblemName = "classification"
    """What is learnt."""
    backbone: Backbone = Backbone()
    views: ViewSettings = ViewSettings()
    training: TrainingSettings = TrainingSettings()
    distill: DistillSettings = DistillSettings()
    tuning: TuningSettings = TuningSettings()

    @model_validator(mode="after")
    def _the_teacher_has_seen_what_the_student_sees(self) -> Self:
        check_distillable(self.views, self.training, self.distill)
        check_options(self.problem, training=self.training)
        return self

    def default(self) -> dict[str, float]:
        """Return the values that stay where nothing else is better."""
        taught = {"alpha": self.distill.alpha, "temperature": self.distill.temperature}
        return {"learning_rate": self.training.learning_rate, **taught}

    def lists(self) -> dict[str, tuple[float, ...]]:
        """Return the values to try of each of these settings."""
        tuning = self.tuning
        return {"learning_rate": tuning.learning_rates, "alpha": tuning.alphas, "temperature": tuning.temperatures}
