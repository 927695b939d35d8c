"""Losses of problems whose outputs are maps: logits [N, K, h, w] on any grid against a class for each pixel, and
against a teacher's logits on another grid.

Both are sums with counts that add up over the parts of a batch (`functional.sums`). Dice and Lovasz are ratios over
many pixels and no sums of anything, so each is taken of one image, and counts once for each of its pixels that have a
class: then their mean over a batch is the same however the batch is cut, and an image without such pixels adds nothing.

Shape letters: N images, K classes, H W pixels, P pixels of an image in a row, h w cells of a map; 4 numbers are the
area in which a view shows its image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from taskdistill.tasks.functional.areas import shown_cells
from taskdistill.tasks.functional.grids import finest, on_grid
from taskdistill.tasks.functional.in_parts import sum_in_parts
from taskdistill.tasks.functional.losses import IGNORED, distillation_divergence
from taskdistill.tasks.functional.sums import Sum

RegionLoss = Callable[[Tensor, Tensor], Tensor]
"""From probabilities [N, K, P] and targets [N, P] to a loss for each image, [N], in 0..1."""


def dice(probabilities_NKP: Tensor, targets_NP: Tensor) -> Tensor:
    """Return 1 - 2 |A n B| / (|A| + |B|) for each image, [N], the mean over the classes it has (soft Dice, V-Net, arXiv
    1606.04797, without squares, so that of certain answers it is one minus the F1 score).

    Pixels that are IGNORED belong to no class and no answer; an image that has no others has the loss 0.
    """
    asked_NKP, is_class_NKP = _of_classes(probabilities_NKP, targets_NP)
    answered_NKP = asked_NKP * (targets_NP != IGNORED)[:, None]
    common_NK = (answered_NKP * is_class_NKP).sum(2)
    sizes_NK = answered_NKP.sum(2) + is_class_NKP.sum(2)
    is_there_NK = is_class_NKP.any(2)
    losses_NK = 1 - 2 * common_NK / sizes_NK.where(is_there_NK, torch.ones_like(sizes_NK))
    return _mean_of_classes(losses_NK, is_there_NK)


def lovasz(probabilities_NKP: Tensor, targets_NP: Tensor) -> Tensor:
    """Return the Lovasz-Softmax loss for each image, [N], the mean over the classes it has (Berman et al., arXiv
    1705.08790, equations 8 and 9): the convex surface through one minus the Jaccard index of certain answers.

    Pixels that are IGNORED count nothing; an image that has no others has the loss 0.
    """
    asked_NKP, is_class_NKP = _of_classes(probabilities_NKP, targets_NP)
    # An ignored pixel has error 0, so that it stands behind all that have any and its own part is multiplied by 0.
    errors_NKP = (is_class_NKP.float() - asked_NKP).abs() * (targets_NP != IGNORED)[:, None]
    sorted_NKP, order_NKP = errors_NKP.sort(dim=2, descending=True)
    hits_NKP = is_class_NKP.gather(2, order_NKP).float()
    sizes_NK1 = hits_NKP.sum(2, keepdim=True)
    # One minus the Jaccard index when the pixels with the largest errors, up to each, are answered wrongly.
    union_NKP = sizes_NK1 + (1 - hits_NKP).cumsum(2)
    jaccard_NKP = 1 - (sizes_NK1 - hits_NKP.cumsum(2)) / union_NKP.clamp(min=1)
    steps_NKP = torch.diff(jaccard_NKP, dim=2, prepend=torch.zeros_like(sizes_NK1))
    return _mean_of_classes((sorted_NKP * steps_NKP).sum(2), is_class_NKP.any(2))


def num_pixels(targets_NHW: Tensor, weights_K: Tensor | None) -> Tensor:
    """Return what `pixel_loss` counts, a scalar: the pixels that are not IGNORED, or the sum of what they weigh."""
    return _num_pixels(targets_NHW, weights_K).sum()


def pixel_loss(
    logits_NKhw: Tensor, targets_NHW: Tensor, weights_K: Tensor | None = None, region: RegionLoss | None = None
) -> Sum:
    """Return the cross-entropy in nats, each pixel times the weight of its class, and with `region` that loss of its
    image added to each pixel; summed over the pixels that are not IGNORED.

    Logits are brought to the pixels, bilinear: a class for each cell would leave out what is smaller. In float32.
    """
    size = targets_NHW.shape[1:]

    def total(some_NKhw: Tensor, some_targets_NHW: Tensor) -> Tensor:
        logits_NKHW = on_grid(some_NKhw, size).float()
        sum_of_pixels = F.cross_entropy(logits_NKHW, some_targets_NHW, weights_K, ignore_index=IGNORED, reduction="sum")
        if region is None:
            return sum_of_pixels
        of_images_N = region(logits_NKHW.softmax(1).flatten(2), some_targets_NHW.flatten(1))
        return sum_of_pixels + (of_images_N * _num_pixels(some_targets_NHW, weights_K)).sum()

    numbers = logits_NKhw.shape[1] * size.numel()
    return Sum(sum_in_parts(total, logits_NKhw, (targets_NHW,), numbers), num_pixels(targets_NHW, weights_K))


def map_divergence(
    student_NKhw: Tensor, teacher_NKhw: Tensor, temperature: float, shown_N4: Tensor | None = None
) -> Sum:
    """Return T^2 * KL(teacher || student) at temperature T in nats, of each image the mean over its cells times how
    many the teacher's map has, summed; where a view is padded (`functional.areas`) of those alone that show the image.

    Both are brought to the finer of the two grids, as logits: the mean of two probabilities is less sure than either.
    Not to the coarser one: of a finer student's cells only those next to its centres would be taught, and of a finer
    teacher's only those would teach. What is counted is the teacher's cells all the same, as they are known before the
    student has said anything.
    """
    grid, num_answers_N = finest((student_NKhw, teacher_NKhw)), _num_answers(teacher_NKhw, shown_N4)
    others = (teacher_NKhw, num_answers_N) if shown_N4 is None else (teacher_NKhw, num_answers_N, shown_N4)

    def total(some_NKhw: Tensor, teacher_NKhw: Tensor, answers_N: Tensor, *shown: Tensor) -> Tensor:
        divergence_Nhw = distillation_divergence(on_grid(some_NKhw, grid), on_grid(teacher_NKhw, grid), temperature)
        if not shown:
            return (divergence_Nhw.mean((1, 2)) * answers_N).sum()
        is_shown_Nhw = shown_cells(shown[0], grid)
        means_N = (divergence_Nhw * is_shown_Nhw).sum((1, 2)) / is_shown_Nhw.sum((1, 2)).clamp(min=1)
        return (means_N * answers_N).sum()

    numbers = teacher_NKhw.shape[1] * grid[0] * grid[1]
    return Sum(sum_in_parts(total, student_NKhw, others, numbers), num_answers_N.sum())


def _num_answers(teacher_NKhw: Tensor, shown_N4: Tensor | None) -> Tensor:
    """Return how many cells of each image a teacher answers for, [N]."""
    height, width = teacher_NKhw.shape[-2:]
    if shown_N4 is None:
        return torch.full((len(teacher_NKhw),), height * width, device=teacher_NKhw.device)
    return shown_cells(shown_N4, (height, width)).sum((1, 2))


def _of_classes(probabilities_NKP: Tensor, targets_NP: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of those classes that some of these images have, and bool [N, K, P]: which pixels are
    of which.

    Of 150 classes an image has about ten, and memory for the others would be most of it.
    """
    classes_K = torch.unique(targets_NP[targets_NP != IGNORED])
    return probabilities_NKP[:, classes_K], targets_NP[:, None] == classes_K[:, None]


def _mean_of_classes(losses_NK: Tensor, is_there_NK: Tensor) -> Tensor:
    """Return the mean over the classes that an image has, 0 where it has none, with a gradient of 0."""
    return (losses_NK * is_there_NK).sum(1) / is_there_NK.sum(1).clamp(min=1)


def _num_pixels(targets_NHW: Tensor, weights_K: Tensor | None) -> Tensor:
    """Return for each image, [N], how many pixels are not IGNORED, or the sum of their classes' weights."""
    is_known_NHW = targets_NHW != IGNORED
    if weights_K is None:
        return is_known_NHW.sum((1, 2))
    classes_NHW = targets_NHW.where(is_known_NHW, torch.zeros_like(targets_NHW))
    return (weights_K[classes_NHW] * is_known_NHW).sum((1, 2))
