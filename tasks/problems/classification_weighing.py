"""The metrics of classification where each image counts so many times (`tasks.problems.weighing`).

Shape letters: N images, K classes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from taskdistill.storage.tables import has_column, read_matrix
from taskdistill.tasks.functional.resampling import Weighted
from taskdistill.tasks.problems.classification_confidence import ClassificationConfidence
from taskdistill.tasks.problems.weighing import mean_of


def of_predictions(table: Path) -> Mapping[str, Weighted]:
    """Return the mean accuracy of the classes, NLL and ECE, as the evaluation has them; none without logits, as early
    versions left none.
    """
    if not has_column(table, "outputs"):
        return {}
    labels_N1, logits_NK = read_matrix(table, "label"), read_matrix(table, "outputs").astype(np.float64)
    labels_N, predicted_N = labels_N1[:, 0].astype(np.int64), logits_NK.argmax(axis=1)
    num_classes = logits_NK.shape[1]

    def mean_class_accuracy(weights_N: npt.NDArray[np.float64]) -> float:
        true_K = np.bincount(labels_N, weights_N, num_classes)
        right_K = np.bincount(labels_N, weights_N * (labels_N == predicted_N), num_classes)
        return float((right_K[true_K > 0] / true_K[true_K > 0]).mean())

    highest_N1 = logits_NK.max(axis=1, keepdims=True)
    of_label_N = logits_NK[np.arange(len(labels_N)), labels_N]
    nll_N = np.log(np.exp(logits_NK - highest_N1).sum(axis=1)) + highest_N1[:, 0] - of_label_N
    return {
        "mean_class_accuracy": mean_class_accuracy,
        "nll": mean_of(nll_N),
        "ece": ClassificationConfidence(logits_NK, labels_N).weighed_error(temperature=1.0),
    }
