"""The running mean of weights, and of what a network keeps besides them."""

import pytest
import torch
from torch import Tensor, nn

from taskdistill.tasks.training.averaging import RunningMean, decay_of_short


class Table(nn.Module):
    """One weight, one statistic, and the indices it looks things up by, as Swin has."""

    weight: nn.Parameter
    statistic: Tensor
    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("statistic", torch.zeros(1))
        self.register_buffer("index", torch.arange(4000), persistent=False)


def test_it_keeps_the_share_of_itself_that_is_asked_for_at_each_update() -> None:
    model = Table()
    mean = RunningMean(model, lambda updates: {1: 0.5, 2: 0.75}[updates])
    for value in (8.0, 4.0, 2.0):
        nn.init.constant_(model.weight, value)
        model.statistic.fill_(10 * value)
        mean.update_parameters(model)
    # The first is copied: 8, then (8 + 4) / 2, then 0.75 * 6 + 0.25 * 2.
    assert mean.module.weight.item() == 5.0
    assert mean.module.statistic.item() == 50.0


def test_indices_stay_as_they_are_however_often_it_is_updated() -> None:
    """Torch rounds the mean of whole numbers down: at 0.9 a quarter of these would be one less after each update."""
    model = Table()
    mean = RunningMean(model, lambda updates: 0.9)
    for _ in range(5):
        mean.update_parameters(model)
    assert torch.equal(mean.module.index, model.index)


def test_the_model_that_is_averaged_is_left_alone() -> None:
    model = Table()
    RunningMean(model, lambda updates: 0.5).update_parameters(model)
    assert model.weight.item() == 0


def test_the_mean_of_a_short_training_holds_as_much_of_the_start_as_that_of_a_whole_one() -> None:
    short = decay_of_short(0.99, num_steps=60, of_training=600)
    assert short == pytest.approx(0.904382075)  # 0.99 ** 10
    assert short**60 == pytest.approx(0.99**600)
    assert decay_of_short(0.0, num_steps=60, of_training=600) == 0
