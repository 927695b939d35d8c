"""The mean of what several models say, by hand and by scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from taskdistill.tasks.functional.means import mean_of_outputs


def test_the_mean_of_log_probabilities_is_high_where_all_agree() -> None:
    # Probabilities 1/2 1/2 and 1/10 9/10: geometric means sqrt(1/20), sqrt(9/20), that is 1 to 3, so 1/4 and 3/4.
    logits = [torch.log(torch.tensor([row])) for row in ([0.5, 0.5], [0.1, 0.9])]
    assert mean_of_outputs(logits, "log-probabilities").exp().tolist() == [pytest.approx([0.25, 0.75], abs=1e-6)]


def test_the_mean_of_probabilities_is_that_of_the_numbers_themselves() -> None:
    logits = [torch.log(torch.tensor([row])) for row in ([0.5, 0.5], [0.1, 0.9])]
    assert mean_of_outputs(logits, "probabilities").exp().tolist() == [pytest.approx([0.3, 0.7], abs=1e-6)]


def test_logits_count_by_their_probabilities_whatever_was_added_to_all_of_them() -> None:
    for mean_of in ("log-probabilities", "probabilities"):
        plain, shifted = (
            mean_of_outputs([torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0 + by, 0.0 + by]])], mean_of)
            for by in (0, 700)
        )
        torch.testing.assert_close(plain, shifted)


def test_three_models_of_many_classes_are_joined_as_scipy_does() -> None:
    given = np.random.default_rng(0).normal(0, 8, (3, 5, 40)).astype(np.float16)
    logits, wide = [torch.from_numpy(one) for one in given], given.astype(np.float64)
    geometric = log_softmax(log_softmax(wide, axis=2).mean(0), axis=1)
    np.testing.assert_allclose(mean_of_outputs(logits, "log-probabilities"), geometric, rtol=1e-12)
    arithmetic = np.log(softmax(wide, axis=2).mean(0))
    np.testing.assert_allclose(mean_of_outputs(logits, "probabilities"), arithmetic, rtol=1e-12)


def test_the_classes_of_maps_are_on_axis_1_at_each_place() -> None:
    given = torch.randn(2, 3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    for mean_of in ("log-probabilities", "probabilities"):
        whole = mean_of_outputs(list(given), mean_of)
        assert whole.shape == (3, 4, 2, 5)
        place = mean_of_outputs(list(given[..., 1, 3]), mean_of)
        torch.testing.assert_close(whole[..., 1, 3], place)


def test_a_class_that_no_model_believes_in_stays_finite() -> None:
    logits = [torch.tensor([[0.0, -20000.0]]), torch.tensor([[0.0, -30000.0]])]
    assert mean_of_outputs(logits, "log-probabilities").tolist() == [[0.0, -25000.0]]
    assert mean_of_outputs(logits, "probabilities").tolist() == [[-0.0, pytest.approx(-20000 - math.log(2))]]
