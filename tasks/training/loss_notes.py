"""The losses of steps, read for several of them together: to read one number is to wait for all that a GPU still has
to do, and it then idles until the next step reaches it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from taskdistill.configs.errors import UserError

READ_TOGETHER = 16
"""Steps. A loss that is no number is noticed so much later; nothing is written in between."""


class TrainingDivergedError(UserError, RuntimeError):
    """The loss stopped being a number; the message names the images of that batch."""


class _Step(NamedTuple):
    ids: Sequence[str]
    parts: Sequence[Mapping[str, Tensor]]


class LossNotes:
    """The losses of the last steps: scalars by name for each part of a batch, wherever they were computed."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    @property
    def is_full(self) -> bool:
        return len(self._steps) >= READ_TOGETHER

    def add(self, ids: Sequence[str], parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Note the losses of a step, in the parts in which its batch was computed, and the images of that."""
        self._steps.append(_Step(ids, parts))

    def read(self, step: int, num_steps: int) -> list[dict[str, float]]:
        """Return the losses of each step that was noted, of which `step` was the last, and forget them.

        Raises TrainingDivergedError for the first that is no number.
        """
        steps, self._steps = self._steps, []
        values = [value for one in steps for part in one.parts for value in part.values()]
        # In one transfer. As float32, which they are computed in, so that they are what `item` would have said.
        numbers = iter(torch.stack(values).tolist()) if values else iter(())
        found = []
        for number, one in enumerate(steps, start=step - len(steps)):
            losses: dict[str, float] = {}
            for part in one.parts:
                add(losses, {name: next(numbers) for name in part})
            _check(losses["loss"], one.ids, number, num_steps)
            found.append(losses)
        return found


def add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    """Add numbers to sums of the same name, which begin at 0."""
    for name, value in values.items():
        sums[name] = sums.get(name, 0) + value


def _check(loss: float, ids: Sequence[str], step: int, num_steps: int) -> None:
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"the loss is {loss} at step {step} of {num_steps}. Lower training.learning_rate, or look at the images of "
            f"this batch: {', '.join(ids)}"
        )
