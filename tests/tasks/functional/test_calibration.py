"""The temperature of the smallest loss is found, and where there is none nothing is changed."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from taskdistill.tasks.functional.calibration import best_temperature


def temperature_of(logits: list[list[float]], labels: list[int]) -> float:
    logits_NK, labels_N = torch.tensor(logits), torch.tensor(labels)
    return best_temperature(lambda scale: F.cross_entropy(logits_NK * scale, labels_N))


def test_answers_that_are_right_three_times_in_four_are_made_as_sure_as_that():
    # Two classes whose logits differ by d: right 3 times of 4 is fitted by a sigmoid of 3/4, where d / T = log 3.
    assert temperature_of([[2, 0]] * 4, [0, 0, 0, 1]) == pytest.approx(2 / math.log(3), rel=1e-5)
    assert temperature_of([[0.5, 0]] * 4, [0, 0, 0, 1]) == pytest.approx(0.5 / math.log(3), rel=1e-5)


@pytest.mark.parametrize("size", [1.0, 1000.0], ids=["plain", "so large that float32 has no slope left"])
def test_where_all_are_right_answers_stay_as_sure_as_they_are(size: float):
    assert temperature_of([[size, 0], [0, size]], [0, 1]) == 1


def test_where_all_are_wrong_answers_are_as_unsure_as_they_may_be():
    assert temperature_of([[1, 0], [0, 1]], [1, 0]) == 4
