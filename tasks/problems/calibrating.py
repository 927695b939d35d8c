"""What a problem tells of how sure its models are, by the predictions of an evaluation; without torch, as it stands in
tables of scores. A problem need not tell: its models are then taken as they are.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from taskdistill.configs.choices import CONFIDENCES, load
from taskdistill.tasks.problems.metrics import Metric


class Coverage(NamedTuple):
    """Counts of images: all, those with an answer that is sure enough, and those of them whose answer is right."""

    images: int
    answered: int
    right: int

    def __str__(self) -> str:
        if not self.answered:
            return f"of {self.images} images it answers none"
        share, right = 100 * self.answered / self.images, 100 * self.right / self.answered
        return f"of {self.images} images it answers {share:.1f} %, and {right:.1f} % of these answers are right"


class Confidence(Protocol):
    """The answers for the images of one split."""

    @property
    def metric(self) -> Metric:
        """The metric that a temperature changes."""
        ...

    def temperature(self) -> float:
        """Return what the model's outputs are to be divided by, by these images."""
        ...

    def error(self, temperature: float) -> float:
        """Return the metric with outputs divided by a temperature."""
        ...

    def sure_and_right(self, temperature: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return for each image how sure the answer is, 0..1, with outputs divided by a temperature, and whether it is
        right.
        """
        ...

    def answered(self, threshold: float, temperature: float) -> Coverage:
        """Return how often the model is at least so sure, with outputs divided by a temperature."""
        ...


def confidence_of(name: str, evaluation: Path, split: str) -> Confidence | None:
    """Return what an evaluation tells of a split; None where the problem of this name, or it, does not say."""
    found: Confidence | None = load(CONFIDENCES, name)(evaluation, split) if name in CONFIDENCES else None
    return found
