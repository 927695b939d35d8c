"""Intervals and tests of shares, against statsmodels and scipy."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from taskdistill.tasks.functional.proportions import exact_mcnemar, paired_p, wilson_interval


@pytest.mark.parametrize(("right", "number"), [(0, 5), (1, 1), (3, 7), (5, 5), (113, 136), (99_000, 100_000)])
def test_the_interval_of_a_share_is_that_of_statsmodels(right: int, number: int) -> None:
    expected = proportion_confint(right, number, method="wilson")
    assert wilson_interval(right / number, number) == pytest.approx(expected, abs=1e-12)


def test_of_nothing_a_share_may_be_anything() -> None:
    assert wilson_interval(math.nan, 0) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 11), (20, 20), (140, 100)])
def test_the_p_of_mcnemar_is_that_of_statsmodels(first: int, second: int) -> None:
    expected = mcnemar([[50, first], [second, 20]], exact=True).pvalue if first + second else 1.0
    assert exact_mcnemar(first, second) == pytest.approx(expected)


def test_right_and_wrong_answers_are_compared_exactly() -> None:
    first, second = [1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1, 1]
    assert paired_p(first, second) == pytest.approx(2 * (1 + 7) / 2**7)  # 6 against 1 of 7: by hand


def test_other_scores_are_compared_by_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(30), generator.random(30)
    assert paired_p(first, second) == pytest.approx(stats.ttest_1samp(first - second, 0).pvalue)


def test_where_scores_never_differ_chance_explains_it_and_one_image_tells_nothing() -> None:
    assert paired_p([0.5, 0.25], [0.5, 0.25]) == 1
    assert math.isnan(paired_p([0.5], [0.25]))
