"""Intervals of shares, against statsmodels."""

import math

import pytest
from statsmodels.stats.proportion import proportion_confint

from taskdistill.tasks.functional.proportions import wilson_interval


@pytest.mark.parametrize(("right", "number"), [(0, 5), (1, 1), (3, 7), (5, 5), (113, 136), (99_000, 100_000)])
def test_the_interval_of_a_share_is_that_of_statsmodels(right: int, number: int) -> None:
    expected = proportion_confint(right, number, method="wilson")
    assert wilson_interval(right / number, number) == pytest.approx(expected, abs=1e-12)


def test_of_nothing_a_share_may_be_anything() -> None:
    assert wilson_interval(math.nan, 0) == (0, 1)
