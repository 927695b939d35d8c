"""Problem "classification": one class an image.

Shape letters: N samples, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from storage.image_set import ImageSet
from tasks.functional.losses import distillation_divergence
from tasks.functional.views import View
from tasks.models.encoder import LAST, MEAN, Block
from tasks.problems.pictures import draw_confusion

CALIBRATION_BINS = 15


class LinearHead(nn.Linear):
    """A linear layer on vectors [N, D], concatenated."""

    def forward(self, *vectors_ND: Tensor) -> Tensor:
        return super().forward(torch.cat(vectors_ND, dim=1))


class Classification:
    """Cross-entropy with the labels, temperature-scaled KL with the teacher, chosen by top-1 accuracy."""

    score_name = "top1"

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        last4 = ("layer-4", "layer-3", "layer-2", LAST)
        return {"last": (LAST,), "last4": last4, "last+mean": (LAST, MEAN), "last4+mean": (*last4, MEAN)}

    def head(self, blocks: Sequence[Block], num_classes: int) -> nn.Module:
        """One linear layer, weights N(0, 0.01), bias 0 (the linear evaluation of DINOv2, arXiv 2304.07193)."""
        head = LinearHead(sum(block.width for block in blocks), num_classes)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        return head

    def target(self, images: ImageSet, row: int, view: View, side_px: int) -> npt.NDArray[np.int64]:
        return np.asarray(images.labels[row])

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), targets)

    def distill_loss(self, outputs: Tensor, teacher_outputs: Tensor, temperature: float) -> Tensor:
        return distillation_divergence(outputs, teacher_outputs, temperature).mean()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Top-1, top-5, mean per-class accuracy and ECE (15 bins) in 0..1, NLL in nats."""
        logits_NK = outputs.float()
        num_classes = logits_NK.shape[1]

        def accuracy(average: str, top_k: int) -> float:
            return float(multiclass_accuracy(logits_NK, targets, num_classes, average=average, top_k=top_k))

        return {
            "top1": accuracy("micro", 1),
            "top5": accuracy("micro", min(5, num_classes)),
            "mean_class_accuracy": accuracy("macro", 1),
            "nll": float(F.cross_entropy(logits_NK, targets)),
            "ece": float(multiclass_calibration_error(logits_NK.softmax(1), targets, num_classes, CALIBRATION_BINS)),
        }

    def image_scores(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        logits_NK = outputs.float()
        best_NR = logits_NK.topk(min(5, logits_NK.shape[1])).indices == targets[:, None]
        is_right_N = logits_NK.argmax(1) == targets
        return {
            "top1": is_right_N.float(),
            "top5": best_NR.any(1).float(),
            "mean_class_accuracy": _by_class(is_right_N.double(), logits_NK.argmax(1), targets),
            "nll": F.cross_entropy(logits_NK, targets, reduction="none"),
        }

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        return (outputs.argmax(1) == teacher_outputs.argmax(1)).float()

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """The entropy of the predicted distribution as a share of the largest, log K."""
        logs_NK = outputs.float().log_softmax(1)
        entropy_N: Tensor = -(logs_NK.exp() * logs_NK).sum(1)
        return entropy_N / math.log(max(outputs.shape[1], 2))

    def predictions(self, outputs: Tensor) -> Mapping[str, npt.NDArray[Any]]:
        confidence_N, predicted_N = outputs.float().softmax(1).max(1)
        return {"predicted": predicted_N.numpy(), "confidence": confidence_N.numpy()}

    def draw(self, folder: Path, name: str, outputs: Tensor, targets: Tensor, classes: Sequence[str]) -> None:
        counts_KK = multiclass_confusion_matrix(outputs.argmax(1), targets, len(classes))
        draw_confusion(folder / f"{name}-confusion.png", torch.Tensor.numpy(counts_KK), classes)


def _by_class(is_right_N: Tensor, predicted_N: Tensor, targets_N: Tensor) -> Tensor:
    """Return the mean over classes of the share that is right, for each image moved by how far it is from the share of
    its class, more where the class is rare: so the spread over images gives the mean's standard error.
    """
    counts_K = torch.bincount(targets_N)
    shares_K = torch.bincount(targets_N, is_right_N) / counts_K.clamp(min=1)
    num_classes = len(set(targets_N.tolist()) | set(predicted_N.tolist()))
    weight_N = len(targets_N) / (num_classes * counts_K[targets_N])
    values_N: Tensor = shares_K.sum() / num_classes + weight_N * (is_right_N - shares_K[targets_N])
    return values_N
