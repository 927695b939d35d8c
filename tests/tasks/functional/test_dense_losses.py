"""Losses of pixels and cells against formulas by hand, brute force and torchmetrics."""

import taskdistill.tasks.models  # noqa: F401  # makes torchvision importable, which torchmetrics imports where it finds it

# isort: split
import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from taskdistill.tasks.functional import in_parts
from taskdistill.tasks.functional.dense_losses import dice, lovasz, map_divergence, num_pixels, pixel_loss
from taskdistill.tasks.functional.losses import IGNORED, distillation_divergence, num_answers
from taskdistill.tasks.functional.sums import Sum

N, K, SIZE = 6, 4, (8, 12)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(N, K, 4, 6)


@pytest.fixture
def targets() -> Tensor:
    """Some pixels of each image ignored, all of the last; class 3 in no image, the first of one class alone."""
    targets_NHW = torch.randint(K - 1, (N, *SIZE))
    targets_NHW[0] = 1
    targets_NHW[:, :2] = IGNORED
    targets_NHW[-1] = IGNORED
    return targets_NHW


LOSSES = {"cross-entropy": None, "dice": dice, "lovasz": lovasz}
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0])


def test_cross_entropy_is_that_of_torch_on_logits_brought_to_the_pixels(logits: Tensor, targets: Tensor) -> None:
    wide = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)
    found = pixel_loss(logits, targets)
    torch.testing.assert_close(found.mean(), F.cross_entropy(wide, targets, ignore_index=IGNORED))
    weighted = F.cross_entropy(wide, targets, WEIGHTS, ignore_index=IGNORED)
    torch.testing.assert_close(pixel_loss(logits, targets, WEIGHTS).mean(), weighted)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_parts_add_up_and_their_count_is_known_beforehand(
    logits: Tensor, targets: Tensor, name: str, weights: Tensor | None
) -> None:
    whole = pixel_loss(logits, targets, weights, LOSSES[name])
    parts = [pixel_loss(logits[part], targets[part], weights, LOSSES[name]) for part in (slice(0, 1), slice(1, N))]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    torch.testing.assert_close(whole.count, parts[0].count + parts[1].count)
    assert whole.count == num_pixels(targets, weights)


@pytest.mark.parametrize("name", LOSSES)
def test_images_computed_one_by_one_have_the_same_loss_and_gradient(
    logits: Tensor, targets: Tensor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for most in (in_parts.MAX_NUMBERS, 1):
        monkeypatch.setattr(in_parts, "MAX_NUMBERS", most)
        given = logits.clone().requires_grad_()
        loss = pixel_loss(given, targets, None, LOSSES[name]).mean()
        loss.backward()
        found.append((loss.detach(), given.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", LOSSES)
def test_an_image_without_a_known_pixel_costs_nothing(
    logits: Tensor, targets: Tensor, name: str, weights: Tensor | None
) -> None:
    given = logits.clone().requires_grad_()
    with_it = pixel_loss(given, targets, weights, LOSSES[name])
    without = pixel_loss(given[:-1], targets[:-1], weights, LOSSES[name])
    torch.testing.assert_close(with_it.mean(), without.mean())
    alone = pixel_loss(given[-1:], targets[-1:], weights, LOSSES[name]).mean()
    alone.backward()
    assert alone == 0
    assert given.grad is not None
    assert (given.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_where_all_is_right_and_certain_nothing_is_lost(targets: Tensor, name: str) -> None:
    known = targets.clamp(min=0)
    certain = 100.0 * F.one_hot(known, K).permute(0, 3, 1, 2)
    given = certain.clone().requires_grad_()
    loss = pixel_loss(given, targets, None, LOSSES[name]).mean()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_logits_so_large_that_probabilities_are_0_and_1_make_no_nan(targets: Tensor, name: str) -> None:
    given = (1e4 * torch.randn(N, K, 4, 6)).requires_grad_()
    loss = pixel_loss(given, targets, None, LOSSES[name]).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(given.grad).all()


# --- regions ---------------------------------------------------------------------------------------------------------


def _flat(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    wide = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)
    return wide.softmax(1).flatten(2), targets.flatten(1)


def _certain(answers_NP: Tensor) -> Tensor:
    return F.one_hot(answers_NP, K).permute(0, 2, 1).float()


@pytest.mark.parametrize(
    ("loss", "score"), [(dice, multiclass_f1_score), (lovasz, multiclass_jaccard_index)], ids=["dice", "lovasz"]
)
def test_of_certain_answers_a_region_loss_is_one_minus_the_score_of_torchmetrics(
    loss: Callable[..., Tensor], score: Callable[..., Tensor], targets: Tensor
) -> None:
    targets_NP = targets.flatten(1)
    answers_NP = torch.randint(K, targets_NP.shape)
    found_N = loss(_certain(answers_NP), targets_NP)
    for image in range(N - 1):
        score_K = score(answers_NP[image], targets_NP[image], K, average="none", ignore_index=IGNORED)
        there = [number for number in range(K) if (targets_NP[image] == number).any()]
        assert float(found_N[image]) == pytest.approx(float(1 - score_K[there].mean()), abs=1e-6)
    assert found_N[-1] == 0


def test_dice_is_its_formula(logits: Tensor, targets: Tensor) -> None:
    probabilities_NKP, targets_NP = _flat(logits, targets)
    found_N = dice(probabilities_NKP, targets_NP)
    for image in range(N - 1):
        is_known_P = targets_NP[image] != IGNORED
        answered_KP = probabilities_NKP[image][:, is_known_P]
        of_classes = []
        for number in targets_NP[image][is_known_P].unique().tolist():
            is_class_P = (targets_NP[image][is_known_P] == number).float()
            common = (answered_KP[number] * is_class_P).sum()
            of_classes.append(1 - 2 * common / (answered_KP[number].sum() + is_class_P.sum()))
        assert float(found_N[image]) == pytest.approx(float(sum(of_classes) / len(of_classes)), abs=1e-6)


def _lovasz_extension(errors: list[float], is_class: list[bool]) -> float:
    """The integral over thresholds t in 0..1 of one minus the Jaccard index when just the pixels whose error is t or
    more are answered wrongly: the Lovasz extension by its definition (Bach, arXiv 1111.6453, definition 3.1).
    """
    total = 0.0
    for low, high in itertools.pairwise(sorted({0.0, 1.0, *errors})):
        wrong = {pixel for pixel, error in enumerate(errors) if error >= high}
        truth = {pixel for pixel, its in enumerate(is_class) if its}
        answered = truth ^ wrong
        total += (high - low) * (1 - len(truth & answered) / len(truth | answered))
    return total


def test_lovasz_is_the_integral_that_defines_it(logits: Tensor, targets: Tensor) -> None:
    probabilities_NKP, targets_NP = _flat(logits, targets)
    found_N = lovasz(probabilities_NKP, targets_NP)
    for image in range(N - 1):
        is_known_P = targets_NP[image] != IGNORED
        of_classes = []
        for number in targets_NP[image][is_known_P].unique().tolist():
            is_class_P = targets_NP[image][is_known_P] == number
            errors_P = (is_class_P.float() - probabilities_NKP[image, number, is_known_P]).abs()
            of_classes.append(_lovasz_extension(errors_P.tolist(), is_class_P.tolist()))
        assert float(found_N[image]) == pytest.approx(sum(of_classes) / len(of_classes), abs=1e-5)


# --- the teacher -----------------------------------------------------------------------------------------------------


def test_on_equal_grids_the_divergence_is_summed_over_cells(logits: Tensor) -> None:
    teacher = torch.randn_like(logits)
    found = map_divergence(logits, teacher, 2.0)
    torch.testing.assert_close(found.total, distillation_divergence(logits, teacher, 2.0).sum())
    assert found.count == num_answers(teacher) == N * 4 * 6


@pytest.mark.parametrize(("grid", "teachers"), [((8, 12), (4, 6)), ((4, 6), (8, 12)), ((3, 12), (4, 6))])
def test_both_are_brought_to_the_finer_grid_as_logits(grid: tuple[int, int], teachers: tuple[int, int]) -> None:
    student, teacher = torch.randn(N, K, *grid), torch.randn(N, K, *teachers)
    finer = max(grid[0], teachers[0]), max(grid[1], teachers[1])
    wide = [F.interpolate(one, finer, mode="bilinear", align_corners=False) for one in (student, teacher)]
    expected = distillation_divergence(*wide, 2.0).mean()
    found = map_divergence(student, teacher, 2.0)
    torch.testing.assert_close(found.mean(), expected)
    assert found.count == num_answers(teacher)


def test_every_cell_of_a_finer_student_is_taught() -> None:
    student = torch.randn(1, K, 16, 16, requires_grad=True)
    map_divergence(student, torch.randn(1, K, 2, 2), 1.0).mean().backward()
    assert student.grad is not None
    assert (student.grad.abs().sum(1) > 0).all()


def test_every_cell_of_a_finer_teacher_teaches() -> None:
    teacher = torch.randn(1, K, 16, 16, requires_grad=True)
    map_divergence(torch.randn(1, K, 2, 2), teacher, 1.0).mean().backward()
    assert teacher.grad is not None
    assert (teacher.grad.abs().sum(1) > 0).all()


def test_divergences_of_parts_add_up_on_unequal_grids_with_padding(
    logits: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = torch.randn(N, K, 6, 4)
    shown_N4 = torch.tensor(
        [[0, 1, 0, 1], [0.5, 1, 0, 1], [0, 0.5, 0.25, 1], [0, 1, 0, 0.3], [0, 0, 0, 0], [0, 1, 0, 1]]
    )

    def loss(part: slice) -> Sum:
        return map_divergence(logits[part], teacher[part], 2.0, shown_N4[part])

    whole, added = loss(slice(None)), loss(slice(0, 2)) + loss(slice(2, N))
    torch.testing.assert_close(whole.total, added.total)
    assert whole.count == added.count == num_answers(teacher, shown_N4)
    monkeypatch.setattr(in_parts, "MAX_NUMBERS", 1)
    torch.testing.assert_close(loss(slice(None)).total, whole.total)


def test_padding_teaches_nothing_and_a_view_of_nothing_but_padding_makes_no_nan(logits: Tensor) -> None:
    student, teacher = logits.clone().requires_grad_(), torch.randn_like(logits)
    shown_N4 = torch.tensor([[0.5, 1.0, 0.0, 1.0]] * (N - 1) + [[0.0, 0.0, 0.0, 0.0]])
    map_divergence(student, teacher, 2.0, shown_N4).mean().backward()
    assert student.grad is not None
    assert (student.grad[:, :, :2] == 0).all()
    assert (student.grad[:-1, :, 2:].abs().sum(1) > 0).all()
    assert (student.grad[-1] == 0).all()
