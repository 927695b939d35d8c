"""Logits as one byte a number: what is kept exactly, how far the rest is off, and what that does to a distribution."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import log_softmax

from taskdistill.storage.int8_rows import quantised, restored

NUM_CLASSES, SIDE, NUM_VIEWS = 150, 37, 6


def scene(number: int) -> np.ndarray:
    """Logits [K, h, w] like those of a segmentation teacher: six classes have regions of their own with soft borders,
    of which it is sure inside; all others lie far below, each with a level of its own, and everything is noisy.
    """
    rng = np.random.default_rng(number)
    noise_Khw = rng.standard_normal((NUM_CLASSES, SIDE, SIDE)) * 0.4
    level_K = rng.normal(-3, 1.5, NUM_CLASSES)
    present = rng.choice(NUM_CLASSES, 6, replace=False)
    fields_Khw = gaussian_filter(rng.standard_normal((6, SIDE, SIDE)), (0, 3, 3))
    logits_Khw = level_K[:, None, None] + noise_Khw
    logits_Khw[present] += 6 + 5 * fields_Khw / fields_Khw.std()
    return logits_Khw.astype(np.float16)


def test_the_smallest_and_the_largest_number_of_a_row_are_kept_and_all_others_within_half_a_step() -> None:
    outputs = np.random.default_rng(0).normal(2, 5, (7, 4, 3, 3)).astype(np.float16)
    values, scales_N2 = quantised(outputs)
    assert (values.dtype, values.shape, scales_N2.dtype, scales_N2.shape) == (np.int8, (7, 4, 3, 3), np.float32, (7, 2))
    found = restored(values, scales_N2)
    assert found.dtype == np.float16
    for row, other, (scale, _) in zip(outputs.astype(float), found.astype(float), scales_N2, strict=True):
        assert scale == pytest.approx((row.max() - row.min()) / 255, rel=1e-6)
        assert (other.min(), other.max()) == (row.min(), row.max())
        assert np.abs(other - row).max() <= scale / 2 + np.abs(row).max() * 2**-11  # float16 has 11 bits


def test_the_numbers_of_a_row_by_hand() -> None:
    """From -1 to 101.0 in 255 steps of 0.4; 0 and 0.1 are the second and third step from below, as near as it goes."""
    values, scales_N2 = quantised(np.array([[-1.0, 101.0, -0.6, -0.25, 50.2]], np.float16))
    assert values.tolist() == [[-128, 127, -127, -126, 0]]
    assert scales_N2 == pytest.approx(np.array([[0.4, 50.2]]), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, -3.5, 65504.0])
def test_a_row_of_one_value_comes_back_as_it_was(value: float) -> None:
    outputs = np.full((2, 3, 2), value, np.float16)
    np.testing.assert_array_equal(restored(*quantised(outputs)), outputs)


def test_the_widest_range_of_float16_neither_overflows_nor_wraps_round() -> None:
    outputs = np.array([[-65504, 65504, 0, 1]], np.float16)
    found = restored(*quantised(outputs)).astype(float)
    assert found[0, :2].tolist() == [-65504, 65504]
    assert np.abs(found - outputs.astype(float)).max() <= 131008 / 255 / 2 + 32


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    rng = np.random.default_rng(0)
    outputs = (rng.standard_normal((1500, 1000)) * rng.uniform(0.1, 30, (1500, 1))).astype(np.float16)
    values, scales_N2 = quantised(outputs)
    for row in (0, 1047, 1048, 1499):  # in parts of a million numbers
        alone = quantised(outputs[row : row + 1])
        assert np.array_equal(alone[0][0], values[row])
        assert np.array_equal(alone[1][0], scales_N2[row])


def test_of_no_row_there_is_nothing() -> None:
    values, scales_N2 = quantised(np.empty((0, 3, 2), np.float16))
    assert (values.shape, scales_N2.shape, restored(values, scales_N2).shape) == ((0, 3, 2), (0, 2), (0, 3, 2))


@pytest.mark.parametrize(("temperature", "at_most"), [(1, 3e-4), (2, 2e-4), (4, 1e-4)])
def test_what_is_lost_of_a_teachers_distribution(temperature: float, at_most: float) -> None:
    exact = np.stack([scene(number) for number in range(NUM_VIEWS)])
    kept = restored(*quantised(exact))
    exact_N, kept_N = (log_softmax(outputs.astype(float) / temperature, axis=1) for outputs in (exact, kept))
    divergence_Nhw = (np.exp(exact_N) * (exact_N - kept_N)).sum(axis=1)
    entropy_Nhw = -(np.exp(exact_N) * exact_N).sum(axis=1)
    assert 0 < divergence_Nhw.mean() < at_most
    # What the teacher leaves open is a thousand times as much.
    assert divergence_Nhw.mean() < entropy_Nhw.mean() / 1000
    assert (exact.argmax(axis=1) != kept.argmax(axis=1)).mean() < 0.015
