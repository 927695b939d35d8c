"""The terms of the distillation objective.

L = (1 - alpha) * task + alpha * distill, with distill = T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) (Marrie et
al., TMLR 2024, arXiv 2402.11305; the temperature and its square from Hinton et al., arXiv 1503.02531, section 2).
A problem chooses among these terms, a lesson computes them for a batch, and `Trainer.backward` weighs and adds them.

Shape letters: N samples, K classes. The class axis is always 1; axes after it, such as height and width, are kept.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from taskdistill.tasks.functional.areas import shown_cells
from taskdistill.tasks.functional.sums import Sum

IGNORED = -100
"""The label of what has none, such as pixels between objects; torch's own number for it."""


def cross_entropy(logits_NK: Tensor, labels_N: Tensor) -> Sum:
    """Return the cross-entropy with the labels in nats, summed over those that are not IGNORED.

    Computed in float32 whatever the logits' type.
    """
    total = F.cross_entropy(logits_NK.float(), labels_N, ignore_index=IGNORED, reduction="sum")
    return Sum(total, num_labels(labels_N))


def num_labels(labels_N: Tensor) -> Tensor:
    """Return how many labels are not IGNORED, a scalar."""
    return (labels_N != IGNORED).sum()


def distillation_divergence(student_NK: Tensor, teacher_NK: Tensor, temperature: float) -> Tensor:
    """Return T^2 * KL(teacher || student) at temperature T for each sample, [N], in nats; 0 where they agree.

    Both arguments are raw logits. The factor T^2 keeps the gradient's size independent of T. Computed in float32
    whatever the logits' type: differences of logs of small numbers need it.
    """
    teacher_log_NK = F.log_softmax(teacher_NK.float() / temperature, dim=1)
    student_log_NK = F.log_softmax(student_NK.float() / temperature, dim=1)
    divergence_NK = teacher_log_NK.exp() * (teacher_log_NK - student_log_NK)
    return divergence_NK.sum(dim=1) * temperature**2


def num_answers(outputs_NK: Tensor, shown_N4: Tensor | None = None) -> Tensor:
    """Return how many answers a network gives, a scalar: one for each sample and place, [N, ...] without classes.

    Places of a padded view count where they show the image: `shown_N4` are the areas (`functional.areas`).
    """
    if shown_N4 is not None:
        return shown_cells(shown_N4, outputs_NK.shape[2:]).sum()
    num = outputs_NK.select(1, 0).numel()
    return torch.full((), num, dtype=torch.int64, device=outputs_NK.device)  # filled there: a copy would wait for it
