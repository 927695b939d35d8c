"""The distillation term, against values worked out by hand, torch's own divergence, and its defining properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from taskdistill.tasks.functional.losses import distillation_divergence

logits = arrays(np.float32, (3, 4), elements=st.floats(-20, 20, width=32))
temperatures = st.floats(0.5, 20)


def test_the_divergence_of_two_classes_is_what_it_is_by_hand() -> None:
    # At T = 2 the teacher says (3/4, 1/4) and the student (1/2, 1/2):
    # 2^2 * (3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2)) = 4 * (3/4 ln 3 - ln 2)
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    found = distillation_divergence(student, teacher, 2.0)
    assert found.tolist() == pytest.approx([4 * (0.75 * math.log(3) - math.log(2))])


def test_the_teacher_comes_first_in_the_divergence() -> None:
    # KL is not symmetric: with the roles exchanged it is 4 * (1/2 ln(1/2 / 3/4) + 1/2 ln(1/2 / 1/4)).
    teacher, student = torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]])
    found = distillation_divergence(student, teacher, 2.0)
    assert found.tolist() == pytest.approx([4 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2))])


@given(logits, logits, temperatures)
def test_its_mean_is_torchs_batch_mean_times_the_square_of_the_temperature(
    student: np.ndarray, teacher: np.ndarray, temperature: float
) -> None:
    student_log, teacher_log = (
        torch.from_numpy(values).double().div(temperature).log_softmax(1) for values in (student, teacher)
    )
    expected = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)(student_log, teacher_log) * temperature**2
    found = distillation_divergence(torch.from_numpy(student), torch.from_numpy(teacher), temperature).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-3, abs=1e-3)


@given(logits, temperatures)
def test_it_is_nothing_where_both_say_the_same(values: np.ndarray, temperature: float) -> None:
    both = torch.from_numpy(values)
    assert distillation_divergence(both, both, temperature).abs().max() < 1e-4


@given(logits, logits, temperatures)
def test_it_is_never_negative(student: np.ndarray, teacher: np.ndarray, temperature: float) -> None:
    found = distillation_divergence(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert found.min() > -1e-3


@given(logits, logits, st.floats(-50, 50), temperatures)
def test_adding_a_number_to_all_logits_of_an_image_changes_nothing(
    student: np.ndarray, teacher: np.ndarray, shift: float, temperature: float
) -> None:
    first, second = torch.from_numpy(student), torch.from_numpy(teacher)
    before = distillation_divergence(first, second, temperature)
    after = distillation_divergence(first + shift, second - shift, temperature)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-2)


def test_its_gradient_does_not_fade_as_the_temperature_grows() -> None:
    # For large T the gradient tends to (z_s - z_t) / K for logits of mean 0 (Hinton et al., equation 4).
    teacher, student = torch.tensor([[1.0, -1.0, 0.0]]), torch.tensor([[0.0, 1.0, -1.0]])
    for temperature in (50.0, 500.0):
        given_student = student.clone().requires_grad_()
        distillation_divergence(given_student, teacher, temperature).sum().backward()
        assert given_student.grad is not None
        torch.testing.assert_close(given_student.grad, (student - teacher) / 3, rtol=0.05, atol=0.01)


def test_the_classes_of_maps_are_on_axis_1_and_height_and_width_are_kept() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    found_Nhw = distillation_divergence(student, teacher, 2.0)
    assert found_Nhw.shape == (2, 3, 4)
    one = distillation_divergence(student[1, :, 2, 3][None], teacher[1, :, 2, 3][None], 2.0)
    assert float(found_Nhw[1, 2, 3]) == pytest.approx(float(one), rel=1e-5)


def test_half_precision_logits_are_compared_in_single_precision() -> None:
    student, teacher = torch.tensor([[30.0, -30.0, 0.1]]).half(), torch.tensor([[29.0, -28.0, 0.3]]).half()
    found = distillation_divergence(student, teacher, 1.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distillation_divergence(student.float(), teacher.float(), 1.0))


def test_very_different_logits_give_a_large_number_and_not_an_infinite_one() -> None:
    found = distillation_divergence(torch.tensor([[0.0, 1000.0]]), torch.tensor([[1000.0, 0.0]]), 1.0)
    assert found.tolist() == [1000.0]
