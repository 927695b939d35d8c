"""The mean of ratios of sums, against what deleting and resampling images gives."""

import numpy as np
import pytest

from taskdistill.tasks.functional.comparison import paired_difference, standard_error
from taskdistill.tasks.functional.ratios import mean_ratio, ratios, values_by_image


def sample(num_images: int, seed: int, quality: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Intersections and unions of four classes, of which the images hold very different amounts."""
    rng = np.random.default_rng(seed)
    wholes = rng.poisson(rng.gamma(2, 200, (num_images, 4)))
    return rng.binomial(wholes, rng.beta(8 * quality, 8 * (1 - quality), (num_images, 4))), wholes


def test_classes_that_no_image_has_are_no_part_of_the_mean() -> None:
    parts, wholes = np.asarray([[1, 0, 0], [2, 0, 0]]), np.asarray([[2, 0, 3], [4, 0, 1]])
    assert ratios(parts, wholes).tolist() == [0.5, pytest.approx(np.nan, nan_ok=True), 0.0]
    assert mean_ratio(parts, wholes) == 0.25
    assert values_by_image(parts, wholes).mean() == pytest.approx(0.25)


def test_where_no_class_is_known_there_is_no_nan() -> None:
    nothing = np.zeros((3, 2), np.int64)
    assert (mean_ratio(nothing, nothing), values_by_image(nothing, nothing).tolist()) == (0.0, [0.0] * 3)


@pytest.mark.parametrize("num_images", [1, 2, 18, 300])
def test_the_values_of_the_images_have_the_metric_as_their_mean(num_images: int) -> None:
    parts, wholes = sample(num_images, seed=0)
    assert values_by_image(parts, wholes).mean() == pytest.approx(mean_ratio(parts, wholes), abs=1e-12)


def test_of_wholes_that_are_all_one_they_are_the_shares_of_the_images() -> None:
    parts = np.asarray([[1], [0], [1], [1]])
    assert values_by_image(parts, np.ones_like(parts)).tolist() == [1, 0, 1, 1]


def test_their_standard_error_is_that_of_the_delete_one_jackknife() -> None:
    """Efron and Tibshirani 1993, equation 11.5: sqrt((N-1)/N * sum of squares of what leaving one out changes)."""
    parts, wholes = sample(200, seed=1)
    left_out = np.asarray([mean_ratio(np.delete(parts, n, 0), np.delete(wholes, n, 0)) for n in range(200)])
    jackknife = np.sqrt(199 / 200 * ((left_out - left_out.mean()) ** 2).sum())
    assert standard_error(values_by_image(parts, wholes)) == pytest.approx(jackknife, rel=0.02)


def test_their_standard_error_is_that_of_the_bootstrap_over_images() -> None:
    parts, wholes = sample(100, seed=2)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 100, 100) for _ in range(2000)]
    bootstrap = np.std([mean_ratio(parts[rows], wholes[rows]) for rows in drawn])
    assert standard_error(values_by_image(parts, wholes)) == pytest.approx(bootstrap, rel=0.06)


def test_their_paired_differences_have_the_error_of_the_bootstrap_of_the_difference() -> None:
    rng = np.random.default_rng(3)
    parts, wholes = sample(100, seed=3)
    better = np.minimum(wholes, parts + rng.binomial(wholes - parts, 0.2))
    found = paired_difference([values_by_image(better, wholes)], values_by_image(parts, wholes))
    drawn = [rng.integers(0, 100, 100) for _ in range(2000)]
    resampled = [mean_ratio(better[rows], wholes[rows]) - mean_ratio(parts[rows], wholes[rows]) for rows in drawn]
    assert found.mean == pytest.approx(mean_ratio(better, wholes) - mean_ratio(parts, wholes), abs=1e-12)
    assert found.standard_error == pytest.approx(np.std(resampled), rel=0.08)
