"""The protocol of problems. Stages call these methods and never ask which problem it is.

Outputs are whatever the problem's head gives for N samples, the class axis second: [N, K] for classification.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from configs.choices import PROBLEMS, load
from storage.image_set import ImageSet
from tasks.functional.comparison import standard_error
from tasks.functional.mixup import Mixture, WeightedTargets
from tasks.functional.sums import Sum
from tasks.functional.views import View


class Problem(Protocol):
    """One kind of task."""

    score_name: str
    """The metric a model is chosen by; higher is better."""

    def head(self, width: int, num_classes: int) -> nn.Module:
        """Return an untrained head on `width` features."""
        ...

    def target(self, images: ImageSet, row: int, view: View, side_px: int) -> npt.NDArray[Any]:
        """Return what is to be learnt from one view of one image."""
        ...

    def num_targets(self, targets: Tensor) -> Tensor:
        """Return what `task_loss` will count, a scalar: how many of the targets are not ignored.

        Asked of a whole batch before its first part goes through the network, as each part is divided by it.
        """
        ...

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        """Return the loss against the labels, summed over the targets that are not ignored."""
        ...

    def distill_loss(self, outputs: Tensor, teacher_outputs: Tensor, temperature: float) -> Sum:
        """Return the divergence from the teacher at this temperature, summed over its answers.

        It counts one for each sample and place (`functional.losses.num_answers`), which is known beforehand too.
        """
        ...

    def mix(self, images_NCHW: Tensor, targets: Tensor, kind: str, share: float, rng: np.random.Generator) -> Mixture:
        """Mix each image of a whole batch with another, keeping about `share` of itself; kind: mixup or cutmix."""
        ...

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return every score of these outputs by name, `score_name` among them."""
        ...

    def image_scores(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Return [N] for each metric that is a mean over images, `score_name` among them: values whose mean is the
        metric and whose spread gives its standard error. Two models are compared by them image by image.
        """
        ...

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        """Return [N], how far, 0..1, two models say the same of each image."""
        ...

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Return [N], 0 (certain) .. 1 (knows nothing), of what the outputs say about each sample."""
        ...

    def predictions(self, outputs: Tensor) -> Mapping[str, npt.NDArray[Any]]:
        """Return columns of the table of predictions, one entry a sample."""
        ...

    def draw(self, folder: Path, name: str, outputs: Tensor, targets: Tensor, classes: Sequence[str]) -> None:
        """Write the pictures a person looks at, each file beginning with `name`."""
        ...


def problem_named(name: str) -> Problem:
    problem: Problem = load(PROBLEMS, name)()
    return problem


class Score(NamedTuple):
    """The metric a model is chosen by, and its standard error."""

    value: float
    standard_error: float


def score_of(problem: Problem, outputs: Tensor, targets: Tensor) -> Score:
    values_N = problem.image_scores(outputs, targets)[problem.score_name]
    return Score(problem.metrics(outputs, targets)[problem.score_name], standard_error(values_N.cpu().numpy()))


def targets_of(
    problem: Problem, images: ImageSet, rows: Iterable[int], views_N9: View, side_px: int
) -> npt.NDArray[Any]:
    """Return the targets of a batch of views, stacked."""
    return np.stack([problem.target(images, row, view, side_px) for row, view in zip(rows, views_N9, strict=True)])


def task_loss_of(problem: Problem, outputs: Tensor, targets: Sequence[WeightedTargets]) -> Sum:
    """Return the loss against weighted targets; each counts as much as it weighs."""
    return functools.reduce(
        Sum.__add__, [problem.task_loss(outputs, some.targets).weighted(some.weight) for some in targets]
    )


def num_targets_of(problem: Problem, targets: Sequence[WeightedTargets]) -> Tensor:
    """Return what `task_loss_of` will count."""
    return functools.reduce(Tensor.add, [problem.num_targets(some.targets) * some.weight for some in targets])
