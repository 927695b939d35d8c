"""Standard errors and paired differences, against numbers worked out by hand, scipy and statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from taskdistill.tasks.functional.comparison import exact_mcnemar, paired_difference, standard_error


def test_the_standard_error_of_a_share_is_that_of_a_binomial() -> None:
    # 3 of 4 are right: sqrt(0.75 * 0.25 / 4).
    assert standard_error([1, 1, 0, 1]) == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert standard_error([1.0] * 9) == 0


def test_a_paired_difference_counts_only_the_images_on_which_two_models_differ() -> None:
    # Differences 0, -1, 0, 0: mean -1/4, squares about it 3/16 + 9/16 = 3/4, by N - 1 a variance of 1/4.
    found = paired_difference([[1, 0, 0, 1]], [1, 1, 0, 1])
    assert found.mean == -0.25
    assert found.standard_error == pytest.approx(math.sqrt(1 / 4 / 4))
    assert not found.is_clear


def test_one_image_does_not_tell_how_far_a_difference_may_be_off() -> None:
    found = paired_difference([[1]], [0])
    assert found.mean == 1
    assert math.isnan(found.standard_error)
    assert not found.is_clear


def test_models_that_never_differ_are_no_difference_apart() -> None:
    found = paired_difference([[1, 0, 1]], [1, 0, 1])
    assert found == (0, 0, 1)
    assert not found.is_clear


def test_models_of_several_seeds_are_averaged_on_each_image() -> None:
    # Means over seeds 1/2, 0, 1, 1; differences to the reference -1/2, 0, 0, 1; mean 1/8, squares 1/4 and 1.
    found = paired_difference([[1, 0, 1, 1], [0, 0, 1, 1]], [1, 0, 1, 0])
    assert found.mean == 0.125
    assert found.standard_error == pytest.approx(math.sqrt((1.25 - 4 / 64) / 3 / 4))


def test_a_difference_is_clear_where_chance_makes_one_as_large_in_fewer_than_one_of_twenty_cases() -> None:
    reference = [1] * 100
    # All of w images went one way: by chance in 2 of 2^w cases, which is 1 of 16 for 5 and 1 of 32 for 6.
    five, six = ([0] * wrong + [1] * (100 - wrong) for wrong in (5, 6))
    assert paired_difference([five], reference).p == pytest.approx(1 / 16)
    assert not paired_difference([five], reference).is_clear
    assert paired_difference([six], reference).is_clear


@pytest.mark.parametrize("num_images", [2, 3, 7, 100, 4096])
def test_one_image_that_went_another_way_makes_no_model_the_better_one_and_two_do(num_images: int) -> None:
    reference = [0] * num_images
    assert not paired_difference([[1] + [0] * (num_images - 1)], reference).is_better
    if num_images > 3:
        assert paired_difference([[1, 1] + [0] * (num_images - 2)], reference).is_better


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 11), (20, 20), (140, 100)])
def test_the_p_of_mcnemar_is_that_of_statsmodels(first: int, second: int) -> None:
    expected = mcnemar([[50, first], [second, 20]], exact=True).pvalue if first + second else 1.0
    assert exact_mcnemar(first, second) == pytest.approx(expected)


def test_right_and_wrong_answers_are_compared_exactly() -> None:
    first, second = [1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1, 1]
    assert paired_difference([first], second).p == pytest.approx(2 * (1 + 7) / 2**7)  # 6 against 1 of 7: by hand


@pytest.mark.parametrize("num_apart", [2, 4, 5, 6, 11])
def test_few_images_that_differ_are_compared_by_all_ways_to_choose_their_signs(num_apart: int) -> None:
    generator = np.random.default_rng(num_apart)
    first_N, second_N = np.full(136, 2 / 3), np.full(136, 2 / 3)
    first_N[:num_apart] += generator.choice([1 / 3, -1 / 3, -2 / 3], num_apart)
    expected = stats.permutation_test(
        (first_N[:num_apart], second_N[:num_apart]), lambda a, b: (a - b).sum(), permutation_type="samples",
        vectorized=False, n_resamples=np.inf,
    ).pvalue  # fmt: skip
    assert paired_difference([first_N], second_N).p == pytest.approx(expected)


def test_a_third_of_the_seeds_is_no_more_evidence_than_all_of_them() -> None:
    one_of_three = [[1] * 4 + [0] * 132, [0] * 136, [0] * 136]
    all_three = [[1] * 4 + [0] * 132] * 3
    assert paired_difference(one_of_three, [0] * 136).p == paired_difference(all_three, [0] * 136).p == 2 / 2**4


def test_many_other_scores_are_compared_by_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(30), generator.random(30)
    assert paired_difference([first], second).p == pytest.approx(stats.ttest_1samp(first - second, 0).pvalue)


def test_where_scores_never_differ_chance_explains_it_and_one_image_tells_nothing() -> None:
    assert paired_difference([[0.5, 0.25]], [0.5, 0.25]).p == 1
    assert math.isnan(paired_difference([[0.5]], [0.25]).p)
