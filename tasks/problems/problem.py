"""The protocol of problems. Stages call these methods and never ask which problem it is.

To add one, see the table in .github/CONTRIBUTING.md; `tests/contracts/dense_toy.py` is a whole one to copy from.

Outputs are whatever the problem's head gives for N samples, the class axis second: [N, K] for classification.

What a whole image is judged by is asked in two steps: `windows` says what a network is shown of it, `joined` makes one
answer of what it said of them.

Shape letters: N samples, M windows of an image, C channels, H W pixels, K classes; 9 numbers cut a view, 4 are the area
in which it shows its image.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from taskdistill.configs.choices import PROBLEMS, load
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.functional.mixup import Mixing, WeightedTargets
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import Pixels, Size, View
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked
from taskdistill.tasks.problems.metrics import Metric
from taskdistill.tasks.problems.palette import Colours
from taskdistill.tasks.problems.traced_answers import Answering

Joined = Any
"""What a problem made of the outputs for one image: outputs [1, ...], or what stands for outputs that are too large to
be held at once. It is for the meter of the problem, and nobody else looks into it.
"""
PixelsOf = Callable[[int], Pixels]
"""Position among the images a meter was given -> the image as it is, uint8 [H, W, 3]; decoded when it is called."""


class Meter(Protocol):
    """Metrics over a stream of batches: nobody but the meter holds the outputs of all images, and it only where the
    problem makes them small. A dense problem keeps a confusion matrix, and some numbers of each image.
    """

    def update(self, outputs: Tensor | Joined, targets: Tensor, *, teacher: Tensor | Joined | None = None) -> None:
        """Take the model's outputs for N samples, their targets, and the teacher's outputs for the same samples (each
        time or never). They are of views, as the head gave them, or of one whole image, as `Problem.joined` did.
        """
        ...

    def compute(self) -> dict[str, float]:
        """Return the metrics of all batches so far by name, those declared; that of the teacher only after one was
        given.
        """
        ...

    def standard_errors(self) -> dict[str, float]:
        """Return the standard error of each metric that has one, the first of the problem's metrics among them."""
        ...

    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return columns of the table of predictions, one entry a sample, in the order they were given. `score` is
        among them: values [N] whose mean is the first metric and whose spread over the samples is that of its standard
        error; two models are compared by them image by image. Of a metric that is no mean over images they are its
        linear approximation (functional.ratios).
        """
        ...

    def class_columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return columns of a table with a line for each class, NaN where there is nothing to say; none where the
        problem has no such table. Metrics name those of them that they are the mean of (`Metric.of_classes`).
        """
        ...

    def draw(self, folder: Path, name: str, pixels_of: PixelsOf, colours_K3: Colours | None = None) -> None:
        """Write the pictures a person looks at, each file beginning with `name`; in the colours by which people know
        the classes, where these are known.
        """
        ...


class Problem(Protocol):
    """One kind of task."""

    metrics: tuple[Metric, ...]
    """What it is judged by, declared in a module without torch. The first chooses a model; of it, higher is better."""
    output_axes: int
    """Axes of the outputs for one sample: 1 for a vector [K], 3 for a map [K, h, w]; what networks made elsewhere must
    give.
    """

    def classes(self, images: ImageSet) -> list[str]:
        """Return the names of what is told apart, in the order of the head's outputs."""
        ...

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """Return what a head may see, by the names that a probe's settings choose from: the blocks it is made of."""
        ...

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        """Return an untrained head, to be called with these blocks in their order.

        `kind` is one of those that the problem has (configs.problem_options); ModelError where it needs other blocks.
        """
        ...

    def for_training(self, training: TrainingSettings, images: ImageSet) -> "Problem":
        """Return the problem with the task loss that these settings ask for (configs.problem_options), and what that
        needs to know of the images. One that has a single loss returns itself.
        """
        ...

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> npt.NDArray[Any]:
        """Return what is to be learnt from one view of one image, cut at this height and width in pixels."""
        ...

    def windows(self, height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
        """Return the views [M, 9] in which a whole image is shown to a network that is judged by it."""
        ...

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> Joined:
        """Return what a network says of a whole image, given its outputs [M, ...] for these views of it: windows, or a
        cached clean view alone, which may show a part of the image. They may lie on a GPU.
        """
        ...

    def truth(self, images: ImageSet, row: int) -> npt.NDArray[Any]:
        """Return what a whole image is judged against, on its own grid where the problem has one."""
        ...

    def answering(self, preprocessing: Preprocessing, temperature: float) -> Answering:
        """Return what makes of outputs for the clean views of images the answers that an exported network gives."""
        ...

    def num_targets(self, targets: Tensor) -> Tensor:
        """Return what `task_loss` will count, a scalar: how many of the targets are not ignored.

        Asked of a whole batch before its first part goes through the network, as each part is divided by it.
        """
        ...

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        """Return the loss against the labels, summed over the targets that are not ignored."""
        ...

    def distill_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float, shown_N4: Tensor | None = None
    ) -> Sum:
        """Return the divergence from the teacher at this temperature, summed over its answers.

        Where views are padded, `shown_N4` are the areas in which they show their images, and places whose centre lies
        outside teach nothing (`functional.areas.shown_cells`); answers to whole images do all the same. It counts one
        for each sample and place that teaches (`functional.losses.num_answers`), which is known beforehand too.
        """
        ...

    def mix_targets(self, targets: Tensor, mixing: Mixing) -> tuple[WeightedTargets, ...]:
        """Return what the images of a whole batch are to be recognised as, each mixed with the one opposite.

        The loss is the weighted sum over the targets, whose weights add up to 1.
        """
        ...

    def mix_outputs(self, outputs: Tensor, mixing: Mixing, temperature: float) -> Tensor:
        """Return what stands for a teacher's outputs [N, ...] for such mixtures, given those for the images.

        At this temperature `distill_loss` has against them the gradient that it has on average against those of both
        images, each weighed by its share: that of a teacher who is linear between the two.
        """
        ...

    def mean(self, outputs: Sequence[Tensor], mean_of: str) -> Tensor:
        """Return outputs [N, ...] that say what several models say on average, given those of each for the same
        samples; `mean_of` is one of configs.stages.MeanOf, as far as the problem knows the difference.
        """
        ...

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        """Return [N], how far, 0..1, two models agree on each image."""
        ...

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Return [N], 0 (certain) .. 1 (every answer alike), of the outputs for each sample."""
        ...

    def answer_form(self, asked: Asked) -> AnswerForm:
        """Return what there is in every answer to an image without a label."""
        ...

    def answer(self, outputs: Joined, asked: Asked, small_HW3: Pixels | None) -> Answer:
        """Return what is told of one whole image, of which `joined` made this. Where answers have pictures the image is
        given too, shrunk to a size for looking at.
        """
        ...

    def meter(self, classes: Sequence[str]) -> Meter:
        """Return a meter without any batch yet; `classes` are those of `classes(images)`."""
        ...


def problem_named(name: str) -> Problem:
    problem: Problem = load(PROBLEMS, name)()
    return problem


class Score(NamedTuple):
    """The metric a model is chosen by, and its standard error."""

    value: float
    standard_error: float


def score_of(problem: Problem, meter: Meter) -> Score:
    name = problem.metrics[0].name
    return Score(meter.compute()[name], meter.standard_errors()[name])


def targets_of(problem: Problem, images: ImageSet, rows: Iterable[int], views_N9: View, size: Size) -> npt.NDArray[Any]:
    """Return the targets of a batch of views, stacked."""
    return np.stack([problem.target(images, row, view, size) for row, view in zip(rows, views_N9, strict=True)])


def task_loss_of(problem: Problem, outputs: Tensor, targets: Sequence[WeightedTargets]) -> Sum:
    """Return the loss against weighted targets; each counts as much as it weighs."""
    return functools.reduce(
        Sum.__add__, [problem.task_loss(outputs, some.targets).weighted(some.weight) for some in targets]
    )


def num_targets_of(problem: Problem, targets: Sequence[WeightedTargets]) -> Tensor:
    """Return what `task_loss_of` will count."""
    return functools.reduce(Tensor.add, [problem.num_targets(some.targets) * some.weight for some in targets])
