"""How sure the predictions of an evaluation are, and which temperature makes that honest; without torch, as tables of
scores show it.

Shape letters: N images, K classes, B bins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from taskdistill.storage.tables import has_column, read_matrix
from taskdistill.tasks.functional.temperatures import temperature_of
from taskdistill.tasks.problems.calibrating import Confidence, Coverage
from taskdistill.tasks.problems.classification_metrics import CALIBRATION_BINS, METRICS
from taskdistill.tasks.problems.metrics import Metric

OUTPUTS, LABEL = "outputs", "label"
MAX_NUMBERS = 20_000_000
"""Logits that a temperature is fitted on: of more, every so many-th image. One number needs no more."""


@dataclass(frozen=True)
class ClassificationConfidence:
    """The logits of the images of one split, and their labels."""

    logits_NK: npt.NDArray[np.float64]
    labels_N: npt.NDArray[np.int64]

    @property
    def metric(self) -> Metric:
        return next(metric for metric in METRICS if metric.name == "ece")

    @classmethod
    def read(cls, evaluation: Path, split: str) -> Self | None:
        """Return what an evaluation noted of a split; None where it has no such split, or left no logits."""
        table = evaluation / f"{split}-predictions.parquet"
        if not table.is_file() or not has_column(table, OUTPUTS):
            return None
        labels_N1, logits_NK = (read_matrix(table, column) for column in (LABEL, OUTPUTS))
        is_known_N = labels_N1[:, 0] >= 0
        if not is_known_N.any():
            return None
        return cls(logits_NK[is_known_N].astype(np.float64), labels_N1[is_known_N, 0].astype(np.int64))

    def temperature(self) -> float:
        """Return the temperature of the smallest cross-entropy (functional.temperatures)."""
        step = -(-self.logits_NK.size // MAX_NUMBERS)
        logits_NK, labels_N = self.logits_NK[::step], self.labels_N[::step]
        of_labels_N = logits_NK[np.arange(len(labels_N)), labels_N]

        def slope(scale: float) -> float:
            """The mean over images of the expected logit, less that of the label."""
            expected_N = (_probabilities(logits_NK * scale) * logits_NK).sum(axis=1)
            return float(np.mean(expected_N - of_labels_N))

        return temperature_of(slope)

    def error(self, temperature: float) -> float:
        """Return the expected calibration error, 0..1, as the evaluation does (15 bins of equal width)."""
        return self.weighed_error(temperature)(np.ones(len(self.labels_N)))

    def weighed_error(self, temperature: float) -> Callable[[npt.NDArray[np.float64]], float]:
        """Return the same as a function of how many times each image counts."""
        sure_N, right_N = self.sure_and_right(temperature)
        edges_B = np.linspace(0, 1, CALIBRATION_BINS + 1)
        place_N = np.clip(np.searchsorted(edges_B, sure_N, side="right") - 1, 0, CALIBRATION_BINS - 1)

        def error(weights_N: npt.NDArray[np.float64]) -> float:
            beyond_B = np.bincount(place_N, weights_N * (sure_N - right_N), CALIBRATION_BINS)
            return float(np.abs(beyond_B).sum() / weights_N.sum())

        return error

    def answered(self, threshold: float, temperature: float) -> Coverage:
        """Return of how many images the answer is at least so sure, and how many of those answers are right."""
        sure_N, right_N = self.sure_and_right(temperature)
        is_answered_N = sure_N >= threshold
        return Coverage(len(sure_N), int(is_answered_N.sum()), int(right_N[is_answered_N].sum()))

    def sure_and_right(self, temperature: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return [N] each: how sure the answer is, 0..1, with outputs divided by a temperature, and if it is right."""
        sure_N = _probabilities(self.logits_NK / temperature).max(axis=1)
        return sure_N, self.logits_NK.argmax(axis=1) == self.labels_N


def _probabilities(logits_NK: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True))


def of_predictions(evaluation: Path, split: str) -> Confidence | None:
    """What `configs.choices.CONFIDENCES` names for classification."""
    return ClassificationConfidence.read(evaluation, split)
