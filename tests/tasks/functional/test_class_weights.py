"""Weights of classes by hand."""

import numpy as np
import pytest

from taskdistill.tasks.functional.class_weights import median_frequency_weights, pixels_of_classes


def test_a_class_weighs_the_median_frequency_divided_by_its_own() -> None:
    """Class 0 has 6 of the 8 pixels of both masks, 1 has 1 of the 4 of one mask, 2 has 1 of the other's 4."""
    masks = [np.asarray([[0, 0], [0, 1]], np.uint8), np.asarray([[0, 0], [0, 2]], np.uint8)]
    assert median_frequency_weights(pixels_of_classes(masks, 3)).tolist() == pytest.approx([0.25 / 0.75, 1, 1])


def test_pixels_without_a_class_are_not_counted_and_a_class_that_is_nowhere_weighs_one() -> None:
    masks = [np.asarray([[0, 0, 0, 1, 255, 255]], np.uint8)]
    assert median_frequency_weights(pixels_of_classes(masks, 3)).tolist() == pytest.approx([0.5 / 0.75, 0.5 / 0.25, 1])


def test_of_no_pixels_all_classes_weigh_one() -> None:
    assert median_frequency_weights(pixels_of_classes([np.full((2, 2), 255, np.uint8)], 2)).tolist() == [1, 1]
