"""Tokens as colours, against scikit-learn and by hand."""

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from taskdistill.tasks.functional.patch_colours import MAX_FITTED, colours, patch_components, turned_to

GENERATOR = np.random.default_rng(0)
TOKENS_NDHW = np.einsum("nchw,cd->ndhw", GENERATOR.normal(size=(4, 5, 3, 6)), GENERATOR.normal(size=(5, 7)))


def test_components_of_tokens_are_those_of_scikit_learn_over_all_images_up_to_their_signs() -> None:
    tokens = np.moveaxis(TOKENS_NDHW, 1, -1).reshape(-1, 7)
    expected = PCA(3, svd_solver="full", whiten=True).fit_transform(tokens)
    unbiased = np.sqrt(len(tokens) / (len(tokens) - 1))  # scikit-learn divides the variance by one less
    assert np.abs(patch_components(TOKENS_NDHW)) == pytest.approx(np.abs(expected.reshape(4, 3, 6, 3)) * unbiased)


def test_of_many_tokens_the_components_are_fitted_to_some_and_hold_for_all() -> None:
    side = 40
    assert 4 * side * side > MAX_FITTED
    axes = np.linalg.qr(GENERATOR.normal(size=(8, 8)))[0]
    sizes = np.array([9, 5, 3, 0.1, 0.1, 0.1, 0.1, 0.1])
    tokens = (GENERATOR.normal(size=(4 * side * side, 8)) * sizes) @ axes
    found = patch_components(np.moveaxis(tokens.reshape(4, side, side, 8), -1, 1)).reshape(-1, 3)
    expected = PCA(3, svd_solver="full", whiten=True).fit_transform(tokens)
    for one, other in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) > 0.999


def test_tokens_with_fewer_directions_leave_the_others_at_nothing() -> None:
    line_NDhw = np.arange(8.0).reshape(1, 1, 2, 4) * np.array([1.0, 2, 2, 0]).reshape(1, 4, 1, 1)
    found = patch_components(line_NDhw)
    assert np.abs(found[..., 0]).ravel() == pytest.approx(np.abs(np.arange(8) - 3.5) / np.arange(8).std())
    assert found[..., 1:] == pytest.approx(np.zeros((1, 2, 4, 2)))
    assert (patch_components(np.ones((2, 2, 3, 3))) == 0).all()
    assert patch_components(np.ones((1, 1, 1, 1))).shape == (1, 1, 1, 3)


def test_components_that_were_turned_and_mirrored_are_turned_back() -> None:
    scores = GENERATOR.normal(size=(3, 4, 5, 3))
    turn = ortho_group.rvs(3, random_state=1)
    assert turned_to(scores @ turn, scores) == pytest.approx(scores, abs=1e-6)  # the grid is brought over in float32


def test_a_finer_grid_is_brought_to_the_coarser_one_before_they_are_compared() -> None:
    coarse = GENERATOR.normal(size=(2, 3, 4, 3))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    assert turned_to(-coarse[..., ::-1], fine) == pytest.approx(coarse, abs=0.3)
    correlation = np.corrcoef(turned_to(-coarse[..., ::-1], fine).ravel(), coarse.ravel())[0, 1]
    assert correlation > 0.99


def test_each_colour_goes_from_none_to_all_of_it_and_equal_scores_are_grey() -> None:
    ramp = np.linspace(-3, 5, 101)
    scores = np.stack([ramp, -ramp, np.zeros(101)], axis=-1).reshape(1, 1, 101, 3)
    found = colours(scores)[0, 0].astype(int)
    assert found[[0, 1, 50, 99, 100], 0].tolist() == [0, 0, 128, 255, 255]
    assert found[[0, 1, 50, 99, 100], 1].tolist() == [255, 255, 128, 0, 0]
    assert set(found[:, 2]) == {128}
