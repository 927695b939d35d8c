"""A toy problem with dense outputs: which part of a bird is where? A class for each pixel, and some that nobody knows.

It shows that stages carry maps; its form with one cell is classification, written another way.

Shape letters: N images, K classes, C channels, H W pixels, D width, h w cells of a map.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchmetrics.functional.classification import multiclass_confusion_matrix

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.functional.areas import shown_cells
from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.losses import IGNORED, cross_entropy, distillation_divergence, num_answers, num_labels
from taskdistill.tasks.functional.means import mean_of_outputs
from taskdistill.tasks.functional.mixup import Mixing, WeightedTargets, mixed_logits
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import UNKNOWN, Pixels, Size, View, replay_mask
from taskdistill.tasks.miniature.world import PARTS
from taskdistill.tasks.models.encoder import LAST, MAP, Block
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked
from taskdistill.tasks.problems.mask_answers import answer_form, answer_of
from taskdistill.tasks.problems.metrics import PERCENT, Metric
from taskdistill.tasks.problems.palette import Colours
from taskdistill.tasks.problems.problem import PixelsOf
from taskdistill.tasks.problems.segmentation_meter import SegmentationMeter
from taskdistill.tasks.problems.segmentation_metrics import METRICS as SEGMENTATION_METRICS
from taskdistill.tasks.problems.traced_answers import ClassesOfPixels
from taskdistill.tasks.problems.whole_images import image_windows

DENSE_METRICS = (Metric("pixel_accuracy", "pixels", PERCENT), Metric("miou", "mIoU", PERCENT))
BORDER = 4
"""Pixels at the edge of each picture whose part nobody knows."""


class DenseHead(nn.Conv2d):
    """A class for each cell of the encoder's last map."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__(width, num_classes, kernel_size=1)


class Parts:
    """Parts of birds: logits [N, K, h, w] of any grid, targets [N, H, W]."""

    metrics = DENSE_METRICS
    output_axes = 3
    folder: ClassVar[Path]
    """Of the dataset, whose masks lie beside its images."""

    def classes(self, images: ImageSet) -> list[str]:
        return list(PARTS)

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        return {"last": (MAP,)}

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        return DenseHead(blocks[0].width, num_classes)

    def for_training(self, training: TrainingSettings, images: ImageSet) -> "Parts":
        return self

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> np.ndarray:
        """Cut the mask as the image is cut, without its colours."""
        truth_HW = self.truth(images, row)
        known_HW = np.where(truth_HW == IGNORED, UNKNOWN, truth_HW).astype(np.uint8)
        cut_HW = replay_mask(known_HW, view, size).astype(np.int64)
        return np.where(cut_HW == UNKNOWN, IGNORED, cut_HW)

    def windows(self, height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
        return image_windows(height, width, preprocessing, settings)

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> Tensor:
        """All of it at once, as the images are small; tasks.problems.segmentation_meter goes through it in strips."""
        return JoinedMap(outputs, views_M9, height, width).rows(range(height))[None]

    def truth(self, images: ImageSet, row: int) -> np.ndarray:
        mask_HW = np.asarray(Image.open(self.folder / images.ids[row].replace("images", "masks", 1))).astype(np.int64)
        known_HW = np.full_like(mask_HW, IGNORED)
        known_HW[BORDER:-BORDER, BORDER:-BORDER] = mask_HW[BORDER:-BORDER, BORDER:-BORDER]
        return known_HW

    def answering(self, preprocessing: Preprocessing, temperature: float) -> ClassesOfPixels:
        return ClassesOfPixels(preprocessing)

    def num_targets(self, targets: Tensor) -> Tensor:
        return num_labels(targets)

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        return cross_entropy(_at(outputs, targets.shape[1:]), targets)

    def distill_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float, shown_N4: Tensor | None = None
    ) -> Sum:
        """Where a view is padded nothing is taught."""
        divergence_Nhw = distillation_divergence(_at(outputs, teacher_outputs.shape[2:]), teacher_outputs, temperature)
        if shown_N4 is not None:
            divergence_Nhw = torch.where(shown_cells(shown_N4, divergence_Nhw.shape[1:]), divergence_Nhw, 0)
        return Sum(divergence_Nhw.sum(), num_answers(teacher_outputs, shown_N4))

    def mix_targets(self, targets: Tensor, mixing: Mixing) -> tuple[WeightedTargets, ...]:
        """What is pasted brings its mask along; what shines through is learnt by its share."""
        if mixing.box is None:
            return WeightedTargets(mixing.share, targets), WeightedTargets(1 - mixing.share, targets.flip(0))
        is_own = mixing.kept(targets.shape[1:], targets.device) >= 0.5
        return (WeightedTargets(1.0, torch.where(is_own, targets, targets.flip(0))),)

    def mix_outputs(self, outputs: Tensor, mixing: Mixing, temperature: float) -> Tensor:
        """Each cell by the share of it that is left."""
        return mixed_logits(outputs, mixing, temperature)

    def mean(self, outputs: Sequence[Tensor], mean_of: str) -> Tensor:
        return mean_of_outputs(outputs, mean_of)

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        same_Nhw = outputs.argmax(1) == _at(teacher_outputs.float(), outputs.shape[2:]).argmax(1)
        return same_Nhw.float().mean(dim=(1, 2))

    def uncertainty(self, outputs: Tensor) -> Tensor:
        return 1 - outputs.float().softmax(1).amax(1).mean(dim=(1, 2))

    def answer_form(self, asked: Asked) -> AnswerForm:
        return AnswerForm({"share": float}, ("mask",))

    def answer(self, outputs: Tensor, asked: Asked, small_HW3: Pixels | None) -> Answer:
        """Of an image as `joined` makes it: the class of each pixel, and the share of the first class."""
        predicted_HW = outputs[0].argmax(0).cpu().numpy().astype(np.uint8)
        return Answer({"share": float((predicted_HW == 0).mean())}, {"mask": Image.fromarray(predicted_HW)})

    def meter(self, classes: Sequence[str]) -> "DenseMeter":
        return DenseMeter(len(classes))


class JudgedParts(Parts):
    """The same parts, judged as segmentation is: in strips, by its metrics, with its pictures."""

    metrics = SEGMENTATION_METRICS

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> JoinedMap:  # type: ignore[override]
        return JoinedMap(outputs, views_M9, height, width)

    def answer_form(self, asked: Asked) -> AnswerForm:
        return answer_form(asked)

    def answer(self, outputs: JoinedMap, asked: Asked, small_HW3: Pixels | None) -> Answer:  # type: ignore[override]
        return answer_of(outputs, asked, small_HW3)

    def meter(self, classes: Sequence[str]) -> SegmentationMeter:  # type: ignore[override]
        return SegmentationMeter(classes)


class DenseMeter:
    """Keeps a confusion matrix, a number of each image, and one picture."""

    def __init__(self, num_classes: int) -> None:
        self._counts_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self._accuracies: list[float] = []
        self._first: np.ndarray | None = None

    def update(self, outputs: Tensor, targets: Tensor, *, teacher: Tensor | None = None) -> None:
        predicted_NHW, is_known_NHW = _at(outputs, targets.shape[1:]).argmax(1), targets != IGNORED
        self._counts_KK += multiclass_confusion_matrix(
            predicted_NHW, targets, len(self._counts_KK), ignore_index=IGNORED
        ).cpu()
        right_N = ((predicted_NHW == targets) & is_known_NHW).sum((1, 2)) / is_known_NHW.sum((1, 2)).clamp(min=1)
        self._accuracies += right_N.tolist()
        self._first = predicted_NHW[0].cpu().numpy().astype(np.uint8) if self._first is None else self._first

    def compute(self) -> dict[str, float]:
        right_K = self._counts_KK.diagonal()
        union_K = self._counts_KK.sum(0) + self._counts_KK.sum(1) - right_K
        miou = (right_K / union_K.clamp(min=1))[union_K > 0].mean()
        return {"pixel_accuracy": float(np.mean(self._accuracies)), "miou": float(miou)}

    def standard_errors(self) -> dict[str, float]:
        return {"pixel_accuracy": standard_error(self._accuracies)}

    def columns(self) -> Mapping[str, np.ndarray]:
        return {"score": np.asarray(self._accuracies)}

    def class_columns(self) -> Mapping[str, np.ndarray]:
        return {}

    def draw(self, folder: Path, name: str, pixels_of: PixelsOf, colours_K3: Colours | None = None) -> None:
        assert self._first is not None
        image = Image.fromarray(pixels_of(0))
        mask = Image.fromarray(self._first * 20).resize(image.size)
        Image.blend(image, mask.convert("RGB"), 0.5).save(folder / f"{name}-overlay.png")


class OneCellHead(nn.Linear):
    """A map of one cell."""

    def forward(self, vectors_ND: Tensor) -> Tensor:
        return super().forward(vectors_ND)[:, :, None, None]


class OneCell(Parts):
    """Classification, written as a dense problem whose only cell is the image."""

    def classes(self, images: ImageSet) -> list[str]:
        return images.classes

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        return {"last": (LAST,)}

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        """Drawn as that of classification is, so that the same seed gives the same weights."""
        head = OneCellHead(blocks[0].width, num_classes)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        return head

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> np.ndarray:
        return self.truth(images, row)

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> Tensor:
        return outputs

    def truth(self, images: ImageSet, row: int) -> np.ndarray:
        return np.full((1, 1), images.labels[row], np.int64)


def _at(outputs_NKhw: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a map to another grid."""
    if tuple(outputs_NKhw.shape[2:]) == tuple(size):
        return outputs_NKhw
    return interpolate(outputs_NKhw.float(), tuple(size), mode="bilinear", align_corners=False)
