"""Standard errors and paired differences, against numbers worked out by hand."""

import math

import pytest

from taskdistill.tasks.functional.comparison import paired_difference, standard_error


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
    assert found == (0, 0)
    assert not found.is_clear


def test_models_of_several_seeds_are_averaged_on_each_image() -> None:
    # Means over seeds 1/2, 0, 1, 1; differences to the reference -1/2, 0, 0, 1; mean 1/8, squares 1/4 and 1.
    found = paired_difference([[1, 0, 1, 1], [0, 0, 1, 1]], [1, 0, 1, 0])
    assert found.mean == 0.125
    assert found.standard_error == pytest.approx(math.sqrt((1.25 - 4 / 64) / 3 / 4))


def test_a_difference_is_clear_beyond_two_standard_errors() -> None:
    reference = [1] * 100
    # w wrong ones more: mean -w/100, error sqrt(w/100 (1 - w/100) / 99); twice that is 0.0343 of 3, 0.0394 of 4.
    three, four = ([0] * wrong + [1] * (100 - wrong) for wrong in (3, 4))
    assert not paired_difference([three], reference).is_clear
    assert paired_difference([four], reference).is_clear


@pytest.mark.parametrize("num_images", [2, 3, 7, 100, 4096])
def test_one_image_that_went_another_way_makes_no_model_the_better_one_and_two_do(num_images: int) -> None:
    reference = [0] * num_images
    assert not paired_difference([[1] + [0] * (num_images - 1)], reference).is_better
    if num_images > 3:
        assert paired_difference([[1, 1] + [0] * (num_images - 2)], reference).is_better
