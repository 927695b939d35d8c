"""The metrics of segmentation over a stream of batches.

Shape letters: N images, K classes, H W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from tasks.functional.comparison import standard_error
from tasks.functional.grids import on_grid
from tasks.functional.losses import IGNORED
from tasks.functional.views import Pixels


class SegmentationMeter:
    """Keeps a confusion matrix, and a number of each image. A stand-in: another branch brings the one that counts."""

    def __init__(self, classes: Sequence[str], agreement: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._counts_KK = torch.zeros(len(classes), len(classes), dtype=torch.int64)
        self._scores: list[float] = []
        self._picture: Image.Image | None = None

    def update(
        self, outputs: Tensor, targets: Tensor, *, teacher: Tensor | None = None, pixels: Pixels | None = None
    ) -> None:
        predicted_NHW = on_grid(outputs, targets.shape[1:]).argmax(1).cpu()
        for predicted_HW, target_HW in zip(predicted_NHW, targets.cpu(), strict=True):
            num_classes, is_known_HW = len(self._counts_KK), target_HW != IGNORED
            places = target_HW[is_known_HW] * num_classes + predicted_HW[is_known_HW]
            counts_KK = torch.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)
            self._counts_KK += counts_KK
            self._scores.append(_miou(counts_KK))
        if self._picture is None:
            self._picture = Image.fromarray(predicted_NHW[0].numpy().astype(np.uint8))

    def compute(self) -> dict[str, float]:
        return {"miou": _miou(self._counts_KK)}

    def standard_errors(self) -> dict[str, float]:
        return {"miou": standard_error(self._scores)}

    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"score": np.asarray(self._scores)}

    def draw(self, folder: Path, name: str) -> None:
        if self._picture:
            self._picture.save(folder / f"{name}-overlay.png")


def _miou(counts_KK: Tensor) -> float:
    right_K = counts_KK.diagonal()
    union_K = counts_KK.sum(0) + counts_KK.sum(1) - right_K
    return float((right_K / union_K.clamp(min=1))[union_K > 0].mean().nan_to_num())
