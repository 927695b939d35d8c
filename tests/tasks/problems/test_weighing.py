"""Metrics where each image counts so many times: as an independent library has them on images repeated so often."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from taskdistill.configs.stages import EvaluateConfig
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import write_columns
from taskdistill.tasks.catalog import EVALUATE_TEACHER
from taskdistill.tasks.problems.classification_weighing import of_predictions
from taskdistill.tasks.problems.segmentation_weighing import of_predictions as of_masks
from taskdistill.tasks.problems.weighing import weighed
from tests.conftest import Bench

NUM_IMAGES, NUM_CLASSES = 30, 4


def test_of_whole_splits_they_are_what_the_evaluation_says(workshop: Bench) -> None:
    ref = workshop.run(EVALUATE_TEACHER, EvaluateConfig(), images=workshop.images, logits=workshop.logits)
    scores = EvaluationSummary.of(workshop.store.manifest(ref)).scores["test"]
    found = weighed("classification", workshop.path(ref), "test", "top1")
    assert list(found) == ["top1", "mean_class_accuracy", "nll", "ece"]
    for name, of_weights in found.items():
        assert of_weights(np.ones(12)) == pytest.approx(scores[name], abs=2e-6)


def test_an_image_that_counts_three_times_counts_as_three_images(tmp_path: Path) -> None:
    """No image is of the last class."""
    generator = np.random.default_rng(0)
    logits_NK = generator.normal(size=(NUM_IMAGES, NUM_CLASSES))
    labels_N, times_N = (generator.integers(most, size=NUM_IMAGES) for most in (NUM_CLASSES - 1, 4))
    write_columns(tmp_path / "test-predictions.parquet", {"label": labels_N, "outputs": logits_NK})
    logits, labels = np.repeat(logits_NK, times_N, axis=0), np.repeat(labels_N, times_N)
    shares = torch.from_numpy(logits).softmax(1)
    metrics = of_predictions(tmp_path / "test-predictions.parquet")
    found = {name: of_weights(times_N.astype(np.float64)) for name, of_weights in metrics.items()}
    assert found["nll"] == pytest.approx(sklearn.metrics.log_loss(labels, shares, labels=range(NUM_CLASSES)), rel=1e-5)
    ece = multiclass_calibration_error(shares, torch.from_numpy(labels), NUM_CLASSES, 15)
    assert found["ece"] == pytest.approx(float(ece), abs=1e-5)
    # A class that is predicted and never true does not count.
    recall = sklearn.metrics.recall_score(labels, logits.argmax(1), average="macro", labels=np.unique(labels))
    assert found["mean_class_accuracy"] == pytest.approx(recall)


def test_iou_is_counted_over_all_pixels_of_the_images_that_are_drawn(tmp_path: Path) -> None:
    # Two images of two classes: of the first 3 of 4 and 1 of 2 pixels, of the second 0 of 5, and none of class 1.
    columns = {
        "right": np.array([[3, 1], [0, 0]]), "predicted": np.array([[4, 1], [2, 0]]), "true": np.array([[3, 2], [3, 0]])
    }  # fmt: skip
    table = tmp_path / "test-predictions.parquet"
    write_columns(table, {f"pixels_{name}": values for name, values in columns.items()})
    miou = of_masks(table)["miou"]
    assert miou(np.array([1.0, 1.0])) == pytest.approx((3 / 9 + 1 / 2) / 2)
    assert miou(np.array([2.0, 0.0])) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert miou(np.array([0.0, 1.0])) == 0.0
