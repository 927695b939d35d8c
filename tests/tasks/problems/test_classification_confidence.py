"""How sure predictions are, counted without torch, is what torch and torchmetrics count."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from taskdistill.storage.tables import write_columns
from taskdistill.tasks.functional.calibration import best_temperature
from taskdistill.tasks.problems.calibrating import Coverage, confidence_of
from taskdistill.tasks.problems.classification_confidence import ClassificationConfidence
from taskdistill.tasks.problems.classification_meter import ClassificationMeter


@pytest.fixture
def said() -> ClassificationConfidence:
    """Three hundred answers of a model that is too sure."""
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 5, 300)
    logits_NK = 4 * (rng.normal(size=(300, 5)) + 1.2 * np.eye(5)[labels_N])
    return ClassificationConfidence(logits_NK.astype(np.float32).astype(np.float64), labels_N)


def test_the_temperature_is_that_of_the_smallest_cross_entropy(said: ClassificationConfidence) -> None:
    logits_NK, labels_N = torch.from_numpy(said.logits_NK), torch.from_numpy(said.labels_N)
    by_torch = best_temperature(lambda scale: F.cross_entropy(logits_NK * scale, labels_N))
    assert said.temperature() == pytest.approx(by_torch, rel=1e-5)
    assert said.temperature() > 1.5


def test_right_three_times_in_four_is_made_as_sure_as_that() -> None:
    # Two classes whose logits differ by d: a sigmoid of 3/4 is at d / T = log 3.
    answers = ClassificationConfidence(np.asarray([[2.0, 0.0]] * 4), np.asarray([0, 0, 0, 1]))
    assert answers.temperature() == pytest.approx(2 / math.log(3), rel=1e-5)
    assert answers.error(2 / math.log(3)) == pytest.approx(0, abs=1e-9)
    assert answers.error(1.0) == pytest.approx(1 / (1 + math.exp(-2)) - 0.75)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_calibration_error_is_that_of_the_evaluation(said: ClassificationConfidence, temperature: float) -> None:
    meter = ClassificationMeter("abcde", lambda one, other: one)
    meter.update(torch.from_numpy(said.logits_NK).float() / temperature, torch.from_numpy(said.labels_N))
    assert said.error(temperature) == pytest.approx(meter.compute()["ece"], abs=1e-5)


def test_a_threshold_leaves_out_what_is_less_sure() -> None:
    # Of two classes: 0.88, 0.98 and 0.73 sure; the last is wrong.
    answers = ClassificationConfidence(np.asarray([[2.0, 0.0], [0.0, 4.0], [1.0, 0.0]]), np.asarray([0, 1, 1]))
    assert answers.answered(0.8, 1.0) == Coverage(3, 2, 2)
    assert answers.answered(0.0, 1.0) == Coverage(3, 3, 2)
    assert str(answers.answered(0.8, 1.0)) == ("of 3 images it answers 66.7 %, and 100.0 % of these answers are right")
    assert str(answers.answered(1.0, 1.0)) == "of 3 images it answers none"


def test_images_without_a_label_do_not_count(tmp_path: Path) -> None:
    columns = {"label": np.asarray([0, -1, 1]), "outputs": np.asarray([[2.0, 0.0], [9.0, 0.0], [0.0, 4.0]])}
    write_columns(tmp_path / "val-predictions.parquet", columns)
    found = confidence_of("classification", tmp_path, "val")
    assert found is not None
    assert found.answered(0.0, 1.0) == Coverage(2, 2, 2)


def test_an_evaluation_without_logits_tells_nothing(tmp_path: Path) -> None:
    write_columns(tmp_path / "val-predictions.parquet", {"label": np.asarray([0])})
    assert confidence_of("classification", tmp_path, "val") is None
    assert confidence_of("classification", tmp_path, "test") is None
    assert confidence_of("segmentation", tmp_path, "val") is None
