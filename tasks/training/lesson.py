"""What a Trainer is given: a lesson draws the images of each step, loads them, computes their losses, and scores the
model on validation. The two lessons stand with their stages: `tasks.stages.distill` and `tasks.stages.finetune`.

Shape letters: N images, labelled ones first, C channels, H W pixels; 4 numbers are the area in which a view shows its
image.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from taskdistill.tasks.functional.mixup import WeightedTargets
from taskdistill.tasks.functional.shares import WHOLE, Share
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.problems.problem import Score

D = TypeVar("D")

Losses = Mapping[str, Sum]
"""The terms of the loss by name: task, and where there is a teacher distill."""


class Batch(NamedTuple):
    """What one step trains on: labelled images first, then those that only have teacher outputs; or the share of it
    that one of several ranks takes.
    """

    ids: list[str]
    """Of all images of the step, whoever takes them."""
    pixels_NHW3: Pixels
    targets: npt.NDArray[Any]
    """One for each labelled image."""
    teacher: npt.NDArray[np.float16] | None = None
    """The teacher's outputs for all images, where there is a teacher."""
    shown_N4: npt.NDArray[np.float32] | None = None
    """Where views are padded, the area in which each shows its image: outside of it the teacher says nothing."""


class MicroBatch(NamedTuple):
    """A batch on the device, or a part of one where gradients are accumulated; again labelled images first."""

    images_NCHW: Tensor
    """Normalised as the model wants them."""
    targets: tuple[WeightedTargets, ...]
    """Several where images are mixed."""
    teacher: Tensor | None = None
    shown_N4: Tensor | None = None

    @property
    def num_labelled(self) -> int:
        return len(self.targets[0].targets)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        height, width = self.images_NCHW.shape[-2:]
        return height, width


class Lesson(Protocol[D]):
    """One training run; D is what it draws for a step."""

    @property
    def num_images(self) -> int:
        """Labelled training images: an epoch."""

    @property
    def weights(self) -> Mapping[str, float]:
        """What each term of the loss weighs."""

    @property
    def score_name(self) -> str: ...

    def draw(self, step: int) -> D:
        """Choose what a step loads. Called in the order of steps, in the training thread: it may keep state, such as
        a cache, and depends on nothing but the step all the same, so that a killed run continues alike.
        """

    def load(self, drawn: D, share: Share = WHOLE) -> Batch:
        """Decode and cut this share of what was drawn: the slow part, called by several threads at once."""

    def mixed(self, batch: MicroBatch, step: int) -> MicroBatch:
        """Return a batch with its images mixed, before it is cut into micro-batches. The share of a rank is mixed as
        it is in the whole batch.
        """

    def counts(self, batch: MicroBatch) -> Mapping[str, Tensor]:
        """Return what the losses of a batch will count, known before any image goes through the network."""

    def losses(self, model: nn.Module, batch: MicroBatch, step: int) -> Losses:
        """Return the losses of a micro-batch; those of all of them add up to those of the batch."""

    def score(self, model: nn.Module) -> Score:
        """Return the score on validation, higher is better."""


def micro_batches(batch: MicroBatch, num_parts: int) -> Iterator[MicroBatch]:
    """Cut a batch into parts, each with its share of labelled and of other images; shares may differ by one."""
    if num_parts == 1:  # as it is: joining its rows would copy it
        yield batch
        return
    num_labelled = batch.num_labelled
    for part in range(num_parts):
        labelled = slice(part * num_labelled // num_parts, (part + 1) * num_labelled // num_parts)
        # Every num_parts-th image without a label: as they come in the order of drawing, any cut of them is as good.
        others = slice(num_labelled + part, None, num_parts)
        yield MicroBatch(
            _rows(batch.images_NCHW, labelled, others),
            # Only labelled images have targets; with mixup each has two, and both are cut at the same places.
            tuple(some._replace(targets=some.targets[labelled]) for some in batch.targets),
            None if batch.teacher is None else _rows(batch.teacher, labelled, others),
            None if batch.shown_N4 is None else _rows(batch.shown_N4, labelled, others),
        )


def _rows(tensor: Tensor, labelled: slice, others: slice) -> Tensor:
    if len(tensor[others]) == 0:
        return tensor[labelled]  # joined with nothing, images would lose their channels-last order
    return torch.cat([tensor[labelled], tensor[others]])
