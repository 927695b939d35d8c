"""The terms of the distillation objective.

L = (1 - alpha) * task + alpha * distill, with distill = T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) (Marrie et
al., TMLR 2024, arXiv 2402.11305; the temperature and its square from Hinton et al., arXiv 1503.02531, section 2).

Shape letters: N samples, K classes. The class axis is always 1.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def distillation_divergence(student_NK: Tensor, teacher_NK: Tensor, temperature: float) -> Tensor:
    """Return T^2 * KL(teacher || student) at temperature T for each sample, [N], in nats; 0 where they agree.

    Both arguments are raw logits. Axes after the second, such as height and width, are kept. The factor T^2 keeps the
    gradient's size independent of T. Computed in float32 whatever the logits' type: differences of logs of small
    numbers need it.
    """
    teacher_log_NK = F.log_softmax(teacher_NK.float() / temperature, dim=1)
    student_log_NK = F.log_softmax(student_NK.float() / temperature, dim=1)
    divergence_NK = teacher_log_NK.exp() * (teacher_log_NK - student_log_NK)
    return divergence_NK.sum(dim=1) * temperature**2


def combined(task: Tensor, distill: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) * task + alpha * distill."""
    return (1 - alpha) * task + alpha * distill
