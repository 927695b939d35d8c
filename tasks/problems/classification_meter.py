"""The metrics of classification over a stream of batches.

Shape letters: N images, K classes, R answers of an image, the best first.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.problems.classification_confidence import ClassificationConfidence
from taskdistill.tasks.problems.palette import Colours
from taskdistill.tasks.problems.problem import PixelsOf


class ClassificationMeter:
    """Keeps the logits of every image, as the table of predictions holds them too: they are few numbers an image."""

    def __init__(self, classes: Sequence[str], agreement: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._classes = classes
        self._agreement = agreement
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._teacher: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor, *, teacher: Tensor | None = None) -> None:
        self._logits.append(outputs.float())
        self._targets.append(targets)
        if teacher is not None:
            self._teacher.append(teacher.float())

    def compute(self) -> dict[str, float]:
        """Top-1, top-5, mean per-class accuracy, ECE (15 bins) and agreement with the teacher in 0..1, NLL in nats."""
        values = {name: float(values_N.mean()) for name, values_N in self._by_image().items()}
        logits_NK, targets_N = _joined(self._logits).cpu().double(), _joined(self._targets).cpu()
        return values | {"ece": ClassificationConfidence(logits_NK.numpy(), targets_N.numpy()).error(temperature=1.0)}

    def standard_errors(self) -> dict[str, float]:
        """Of the metrics that are means over images: all but ECE."""
        return {name: standard_error(values_N.cpu().numpy()) for name, values_N in self._by_image().items()}

    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """predicted, confidence; score: whether top-1 is right; outputs: the logits; and the teacher's answer."""
        logits_NK = _joined(self._logits)
        columns = _said(logits_NK) | {
            "score": self._is_right().float().cpu().numpy(),
            "outputs": logits_NK.cpu().numpy(),
        }
        if self._teacher:
            columns |= {f"teacher_{name}": column for name, column in _said(_joined(self._teacher)).items()}
        return columns

    def class_columns(self) -> Mapping[str, npt.NDArray[Any]]:
        return {}

    def draw(self, folder: Path, name: str, pixels_of: PixelsOf, colours_K3: Colours | None = None) -> None:
        # scipy and matplotlib, which nobody else here needs.
        from taskdistill.tasks.functional.confusions import confusion_counts
        from taskdistill.tasks.problems.pictures import draw_confusion

        predicted_N, targets_N = (
            each_N.cpu().numpy() for each_N in (_joined(self._logits).argmax(1), _joined(self._targets))
        )
        counts_KK = confusion_counts(targets_N, predicted_N, len(self._classes))
        draw_confusion(folder / f"{name}-confusion.png", counts_KK, self._classes)

    def _by_image(self) -> dict[str, Tensor]:
        """Return [N] for each metric that is a mean over images: values whose mean is the metric and whose spread gives
        its standard error.
        """
        logits_NK, targets_N = _joined(self._logits), _joined(self._targets)
        best_NR = logits_NK.topk(min(5, logits_NK.shape[1])).indices == targets_N[:, None]
        is_right_N = self._is_right()
        values = {
            "top1": is_right_N.float(),
            "top5": best_NR.any(1).float(),
            "mean_class_accuracy": by_class(is_right_N.double(), targets_N),
            "nll": F.cross_entropy(logits_NK, targets_N, reduction="none"),
        }
        return values | ({"teacher_agreement": self._agreed()} if self._teacher else {})

    def _is_right(self) -> Tensor:
        return _joined(self._logits).argmax(1) == _joined(self._targets)

    def _agreed(self) -> Tensor:
        return self._agreement(_joined(self._logits), _joined(self._teacher))


def by_class(is_right_N: Tensor, targets_N: Tensor) -> Tensor:
    """Return the mean, over the classes that have images, of the share that is right, for each image moved by how far
    it is from the share of its class, more where the class is rare: so the spread over images gives the mean's standard
    error.
    """
    counts_K = torch.bincount(targets_N)
    shares_K = torch.bincount(targets_N, is_right_N) / counts_K.clamp(min=1)
    num_classes = int((counts_K > 0).sum())
    weight_N = len(targets_N) / (num_classes * counts_K[targets_N])
    values_N: Tensor = shares_K.sum() / num_classes + weight_N * (is_right_N - shares_K[targets_N])
    return values_N


def _joined(batches: list[Tensor]) -> Tensor:
    """Return all batches as one tensor, and keep them so: the next who asks copies nothing."""
    if len(batches) > 1:
        batches[:] = [torch.cat(batches)]
    return batches[0]


def _said(logits_NK: Tensor) -> dict[str, npt.NDArray[Any]]:
    confidence_N, predicted_N = logits_NK.softmax(1).max(1)
    return {"predicted": predicted_N.cpu().numpy(), "confidence": confidence_N.cpu().numpy()}
