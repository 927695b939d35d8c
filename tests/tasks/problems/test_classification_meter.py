"""The metrics of classification are those of torchmetrics and scikit-learn."""

import taskdistill.tasks.models  # noqa: F401  # makes torchvision importable, which torchmetrics imports where it finds it

# isort: split
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from taskdistill.tasks.problems.classification_meter import ClassificationMeter


def answers(seed: int, num_images: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return logits [N, K] that are often right, and targets [N]; of the last class there is no image."""
    generator = torch.Generator().manual_seed(seed)
    targets_N = torch.randint(0, max(1, num_classes - 1), (num_images,), generator=generator)
    logits_NK = 3 * torch.randn(num_images, num_classes, generator=generator)
    logits_NK[torch.arange(num_images), targets_N] += 2
    return logits_NK, targets_N


@pytest.mark.parametrize(("num_images", "num_classes"), [(1, 2), (7, 3), (200, 4), (300, 30), (1000, 7)])
def test_its_metrics_are_theirs(num_images: int, num_classes: int) -> None:
    logits_NK, targets_N = answers(num_images, num_images, num_classes)
    meter = ClassificationMeter(["any"] * num_classes, lambda one, other: one)
    for part in range(0, num_images, 64):
        meter.update(logits_NK[part : part + 64], targets_N[part : part + 64])

    top5 = multiclass_accuracy(logits_NK, targets_N, num_classes, average="micro", top_k=min(5, num_classes))
    predicted_N, every = logits_NK.argmax(1), {"average": "macro", "zero_division": 0}
    probabilities_NK = logits_NK.double().softmax(1)
    expected = {
        "top1": sklearn.metrics.accuracy_score(targets_N, logits_NK.argmax(1)),
        "top5": float(top5),
        "mean_class_accuracy": sklearn.metrics.recall_score(
            targets_N, predicted_N, labels=np.unique(targets_N), **every
        ),
        "nll": sklearn.metrics.log_loss(targets_N, probabilities_NK, labels=np.arange(num_classes)),
        "ece": float(multiclass_calibration_error(probabilities_NK, targets_N, num_classes, 15)),
    }
    assert meter.compute() == pytest.approx(expected, abs=2e-6)


def test_who_judges_answers_waits_for_no_library_that_draws_or_counts_words() -> None:
    code = (
        "import sys, taskdistill.tasks.problems.classification_meter; "
        "print(sorted({'torchmetrics', 'transformers', 'matplotlib', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
