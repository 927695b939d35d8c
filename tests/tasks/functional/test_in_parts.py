"""A sum in parts is the sum, and has its gradient."""

import pytest
import torch
from torch import Tensor

from taskdistill.tasks.functional import in_parts
from taskdistill.tasks.functional.in_parts import sum_in_parts


def _total(outputs: Tensor, others: Tensor) -> Tensor:
    return (outputs.exp() * others).sum()


@pytest.mark.parametrize("numbers_per_image", [1, 3, 10, 1000])
def test_the_sum_and_its_gradient_do_not_depend_on_the_parts(
    monkeypatch: pytest.MonkeyPatch, numbers_per_image: int
) -> None:
    monkeypatch.setattr(in_parts, "MAX_NUMBERS", 10)
    outputs, others = torch.randn(7, 3), torch.randn(7, 3)
    whole, cut = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    (3 * _total(whole, others)).backward()
    total = sum_in_parts(_total, cut, (others,), numbers_per_image)
    (3 * total).backward()
    torch.testing.assert_close(total, _total(outputs, others))
    torch.testing.assert_close(cut.grad, whole.grad)


def test_without_a_gradient_the_sum_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_parts, "MAX_NUMBERS", 6)
    outputs, others = torch.randn(7, 3, requires_grad=True), torch.randn(7, 3)
    with torch.inference_mode():
        torch.testing.assert_close(sum_in_parts(_total, outputs, (others,), 3), _total(outputs, others))


def test_no_more_images_than_fit_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_parts, "MAX_NUMBERS", 10)
    sizes: list[int] = []

    def total(outputs: Tensor) -> Tensor:
        sizes.append(len(outputs))
        return outputs.sum()

    sum_in_parts(total, torch.ones(7, 3, requires_grad=True), (), 3)
    assert sizes == [3, 3, 1]
