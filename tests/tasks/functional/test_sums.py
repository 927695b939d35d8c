"""Losses as sums with counts: they add up where means do not."""

import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from taskdistill.tasks.functional.losses import IGNORED, cross_entropy, num_answers, num_labels
from taskdistill.tasks.functional.sums import Sum, weighted_sum


def sum_of(total: float, count: float) -> Sum:
    return Sum(torch.tensor(total, requires_grad=True), torch.tensor(count))


def test_adding_adds_totals_and_counts_and_the_mean_is_of_all() -> None:
    whole = sum_of(6.0, 3) + sum_of(4.0, 1)
    assert (whole.total.item(), whole.count.item(), whole.mean().item()) == (10.0, 4, 2.5)  # not (2 + 4) / 2


def test_a_weight_counts_so_often() -> None:
    both = sum_of(6.0, 3).weighted(0.75) + sum_of(2.0, 1).weighted(0.25)
    assert (both.total.item(), both.count.item(), both.mean().item()) == (5.0, 2.5, 2.0)


@pytest.mark.parametrize("total", [0.0, float("nan"), float("inf")])
def test_where_nothing_was_counted_the_mean_and_its_gradient_are_nothing(total: float) -> None:
    nothing = sum_of(total, 0)
    mean = nothing.mean()
    mean.backward()
    assert mean.item() == 0
    assert nothing.total.grad == 0


def test_counts_may_be_fractions() -> None:
    assert sum_of(0.5, 0.25).mean().item() == 2.0


def test_terms_are_added_by_their_weights() -> None:
    values = {"task": torch.tensor(2.0), "distill": torch.tensor(10.0)}
    assert weighted_sum(values, {"distill": 0.25, "task": 0.75}).item() == 0.75 * 2 + 0.25 * 10


# --- cross-entropy -------------------------------------------------------------------------------------------------


def some_logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_cross_entropy_is_torchs_sum_over_what_is_not_ignored() -> None:
    logits_NKhw = some_logits(4, 5, 3, 2)
    labels_Nhw = torch.randint(5, (4, 3, 2), generator=torch.Generator().manual_seed(1))
    labels_Nhw[0], labels_Nhw[2, 1] = IGNORED, IGNORED
    found = cross_entropy(logits_NKhw, labels_Nhw)
    expected = torch_cross_entropy(logits_NKhw, labels_Nhw, reduction="sum", ignore_index=IGNORED)
    assert torch.equal(found.total, expected)
    assert found.count.item() == num_labels(labels_Nhw).item() == 24 - 6 - 2
    torch.testing.assert_close(found.mean(), torch_cross_entropy(logits_NKhw, labels_Nhw))


def test_cross_entropy_by_hand() -> None:
    # softmax (1/4, 3/4) twice, the second ignored: -ln(3/4), counted once.
    logits_NK = torch.tensor([[0.0, 3.0], [0.0, 3.0]]).log().clamp_min(0)
    found = cross_entropy(logits_NK, torch.tensor([1, IGNORED]))
    assert found.total.item() == pytest.approx(0.2876821)
    assert found.count.item() == 1


def test_where_all_labels_are_ignored_loss_and_gradient_are_nothing() -> None:
    logits_NK = some_logits(3, 5)
    cross_entropy(logits_NK, torch.full((3,), IGNORED)).mean().backward()
    assert logits_NK.grad is not None
    assert logits_NK.grad.eq(0).all()


def test_total_by_count_is_torchs_own_mean_bit_for_bit_with_its_gradient() -> None:
    for size in (1, 3, 7, 32, 45):
        ours, theirs = some_logits(size, 10), some_logits(size, 10)
        labels_N = torch.arange(size) % 10
        mean = cross_entropy(ours, labels_N).mean()
        expected = torch_cross_entropy(theirs, labels_N)
        mean.backward(), expected.backward()
        assert torch.equal(mean, expected)
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad)


def test_a_network_answers_once_for_each_sample_and_place() -> None:
    assert num_answers(torch.zeros(4, 5)).item() == 4
    assert num_answers(torch.zeros(4, 5, 3, 2)).item() == 24
