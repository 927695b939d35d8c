"""Whether two models differ: against statsmodels and scipy on the same answers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar as by_statsmodels

from taskdistill.tasks.functional.proportions import Interval
from taskdistill.tasks.functional.resampling import Weighted, bootstrap_interval, mcnemar


def mean_of(values_N: npt.ArrayLike) -> Weighted:
    values = np.asarray(values_N, np.float64)
    return lambda weights_N: float(np.average(values, weights=weights_N))


def answers(seed: int, share: float, count: int = 80) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random(count) < share


def interval(first: Sequence[Weighted], second: Sequence[Weighted], count: int, draws: int = 4000) -> Interval:
    return bootstrap_interval(first, second, count, draws=draws, generator=np.random.default_rng(0))


@pytest.mark.parametrize(("seed", "share"), [(0, 0.5), (1, 0.6), (2, 0.9)])
def test_the_exact_test_is_that_of_statsmodels(seed: int, share: float) -> None:
    first_N, second_N = answers(seed, share), answers(seed + 10, 0.6)
    table = [[np.sum(first_N & second_N), np.sum(first_N & ~second_N)],
             [np.sum(~first_N & second_N), np.sum(~first_N & ~second_N)]]  # fmt: skip
    found = mcnemar(first_N, second_N)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    assert found.p_value == pytest.approx(by_statsmodels(table, exact=True).pvalue)


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]) == (0, 0, 1.0)


def test_five_images_of_one_alone_are_of_chance_once_in_sixteen() -> None:
    assert mcnemar([1] * 5 + [0], [0] * 6) == (5, 0, pytest.approx(2 / 2**5))


def test_an_interval_of_two_models_is_the_paired_one_of_scipy() -> None:
    first_N, second_N = (np.random.default_rng(seed).random(60) for seed in (1, 2))
    expected = scipy.stats.bootstrap(
        (first_N - second_N,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = interval([mean_of(first_N)], [mean_of(second_N)], 60)
    # The ends of two bootstraps of 4,000 draws are a few hundredths of the width apart.
    assert found == pytest.approx((expected.low, expected.high), abs=0.05 * (expected.high - expected.low))


def test_a_model_and_itself_are_not_apart_whatever_is_drawn() -> None:
    of_model = mean_of(answers(0, 0.7))
    assert interval([of_model], [of_model], 80, draws=100) == (0.0, 0.0)


def test_seeds_that_disagree_make_the_interval_wider() -> None:
    base = mean_of(np.full(50, 0.5))
    alike, apart = ([mean_of(np.full(50, value)) for value in values] for values in ((0.6, 0.6), (0.4, 0.8)))
    assert interval(alike, [base], 50, draws=200) == pytest.approx((0.1, 0.1))
    # Of two seeds drawn with replacement both are the lower one in a quarter of the draws, and both the upper one.
    assert interval(apart, [base], 50, draws=200) == pytest.approx((-0.1, 0.3))
