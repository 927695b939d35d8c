"""The protocol of problems. Stages call these methods and never ask which problem it is.

Outputs are whatever the problem's head gives for N samples, the class axis second: [N, K] for classification.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from configs.choices import PROBLEMS, load
from storage.image_set import ImageSet
from tasks.functional.comparison import standard_error
from tasks.functional.views import View
from tasks.models.encoder import Block


class Problem(Protocol):
    """One kind of task."""

    score_name: str
    """The metric a model is chosen by; higher is better."""

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """Return what a head may see, by the names that a probe's settings choose from: the blocks it is made of."""
        ...

    def head(self, blocks: Sequence[Block], num_classes: int) -> nn.Module:
        """Return an untrained head, to be called with these blocks in their order."""
        ...

    def target(self, images: ImageSet, row: int, view: View, side_px: int) -> npt.NDArray[Any]:
        """Return what is to be learnt from one view of one image."""
        ...

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss against the labels, a scalar."""
        ...

    def distill_loss(self, outputs: Tensor, teacher_outputs: Tensor, temperature: float) -> Tensor:
        """Return the mean divergence from the teacher, a scalar, at this temperature."""
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
