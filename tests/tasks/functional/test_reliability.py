"""Confidence against accuracy, against scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from taskdistill.tasks.functional.reliability import coverage_curve, reliability

GENERATOR = np.random.default_rng(0)
SURE = GENERATOR.uniform(0.2, 1, 500)
RIGHT = GENERATOR.random(500) < SURE


def test_bins_are_those_of_scikit_learn() -> None:
    found = reliability(SURE, RIGHT, 15)
    accuracy, confidence = calibration_curve(RIGHT, SURE, n_bins=15)
    assert found.accuracy_B == pytest.approx(accuracy)
    assert found.confidence_B == pytest.approx(confidence)
    assert found.images_B.sum() == 500


def test_a_model_that_is_quite_sure_falls_into_the_last_bin() -> None:
    assert reliability([1.0, 1.0, 0.0], [1, 0, 1], 10).images_B.tolist() == [1, 2]


def test_of_fewer_answers_the_surest_are_given_and_equally_sure_ones_together() -> None:
    found = coverage_curve([0.9, 0.5, 0.5, 0.2], [1, 1, 0, 0], 100)
    assert found.coverage_P.tolist() == [0.25, 0.75, 1.0]
    assert found.accuracy_P == pytest.approx([1, 2 / 3, 0.5])


def test_a_curve_has_as_many_points_as_are_wanted_and_ends_with_all_images() -> None:
    found = coverage_curve(SURE, RIGHT, 20)
    assert len(found.coverage_P) == 20
    assert (found.coverage_P[-1], found.accuracy_P[-1]) == (1, pytest.approx(RIGHT.mean()))
