"""Problem "segmentation": a class for each pixel.

The outputs are logits on a grid of the head's own; each loss brings them to the grid it is computed on
(`tasks.functional.dense_losses`). Targets are the masks of the image-set: one class number a pixel, IGNORED where
nobody knows it.

Shape letters: N images, M windows of an image, K classes, H W pixels, h w cells of a map.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from taskdistill.configs.choices import HEAD_SOURCES, load
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import advice
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.class_weights import ClassPixels, median_frequency_weights, pixels_of_classes
from taskdistill.tasks.functional.dense_losses import RegionLoss, dice, lovasz, map_divergence, num_pixels, pixel_loss
from taskdistill.tasks.functional.grids import finest, on_grid
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.means import mean_of_outputs
from taskdistill.tasks.functional.mixup import Mixing, WeightedTargets, mixed_logits
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import UNKNOWN, Pixels, Size, View, replay_mask
from taskdistill.tasks.models.dense_heads import HEADS
from taskdistill.tasks.models.encoder import MAP, Block
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked
from taskdistill.tasks.problems.mask_answers import answer_form, answer_of
from taskdistill.tasks.problems.noted import noted_of
from taskdistill.tasks.problems.segmentation_metrics import METRICS
from taskdistill.tasks.problems.traced_answers import ClassesOfPixels
from taskdistill.tasks.problems.whole_images import image_windows

if TYPE_CHECKING:
    from taskdistill.tasks.problems.segmentation_meter import SegmentationMeter

REGIONS: Mapping[str, RegionLoss | None] = {
    "cross-entropy": None,
    "cross-entropy+dice": dice,
    "cross-entropy+lovasz": lovasz,
}


class Segmentation:
    """Cross-entropy of each pixel with the mask, KL of each cell with the teacher, chosen by mIoU."""

    metrics = METRICS
    output_axes = 3

    def __init__(self, region: RegionLoss | None = None, weights_K: Tensor | None = None) -> None:
        self._region, self._weights_K = region, weights_K

    def classes(self, images: ImageSet) -> list[str]:
        """The names that the masks' values count through; DatasetError where no labelled image has a mask."""
        labelled = images.rows_of("train", "val", "test")
        if len(labelled) and not any(images.mask(row) for row in (int(labelled[0]), int(labelled[-1]))):
            raise _no_mask(images, int(labelled[0]))
        return images.classes

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """The last map, or the last four: of a transformer its last blocks, of a convolutional network the stages, a
        pyramid of strides 4 to 32.
        """
        return {"last": (MAP,), "last4": (f"{MAP}-4", f"{MAP}-3", f"{MAP}-2", MAP)}

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        """One of `tasks.models.dense_heads`, or of another source (source:name); ModelError where it needs other maps
        than these.
        """
        source, separator, name = kind.partition(":")
        if separator:
            head: nn.Module = load(HEAD_SOURCES, source)(name, blocks, num_classes)
            return head
        return HEADS[kind](blocks, num_classes)

    def for_training(self, training: TrainingSettings, images: ImageSet) -> "Segmentation":
        weights_K = None
        if training.class_weights == "inverse-frequency":
            weights_K = median_frequency_weights(_class_pixels(images))
        return Segmentation(REGIONS[training.loss], weights_K)

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> npt.NDArray[np.int64]:
        """Cut the mask as the image is cut, [H, W].

        Raises DatasetError where a labelled image has no mask, and CorruptArtifactError where it is not of the image.
        """
        return _as_targets(replay_mask(_mask(images, row), view, size))

    def windows(self, height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
        return image_windows(height, width, preprocessing, settings)

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> JoinedMap:
        return JoinedMap(outputs, views_M9, height, width)

    def truth(self, images: ImageSet, row: int) -> npt.NDArray[np.int16]:
        """The mask itself, [H, W]; raises as `target` does."""
        mask_HW = _mask(images, row)  # which may have 50 million pixels: two bytes for each are enough
        return np.where(mask_HW == UNKNOWN, np.int16(IGNORED), mask_HW)

    def answering(self, preprocessing: Preprocessing, temperature: float) -> ClassesOfPixels:
        return ClassesOfPixels(preprocessing)

    def num_targets(self, targets: Tensor) -> Tensor:
        return num_pixels(targets, self._weights_of(targets))

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        return pixel_loss(outputs, targets, self._weights_of(targets), self._region)

    def distill_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float, shown_N4: Tensor | None = None
    ) -> Sum:
        return map_divergence(outputs, teacher_outputs, temperature, shown_N4)

    def mix_targets(self, targets: Tensor, mixing: Mixing) -> tuple[WeightedTargets, ...]:
        """What is pasted brings its mask along; what shines through is learnt by its share."""
        if mixing.box is None:
            return WeightedTargets(mixing.share, targets), WeightedTargets(1 - mixing.share, targets.flip(0))
        is_own_HW = mixing.kept(targets.shape[1:], targets.device) >= 0.5
        return (WeightedTargets(1.0, torch.where(is_own_HW, targets, targets.flip(0))),)

    def mix_outputs(self, outputs: Tensor, mixing: Mixing, temperature: float) -> Tensor:
        """Each cell by the share of it that is left."""
        return mixed_logits(outputs, mixing, temperature)

    def mean(self, outputs: Sequence[Tensor], mean_of: str) -> Tensor:
        """On the finest of their grids, to which they are brought as logits."""
        grid = finest(outputs)
        return mean_of_outputs([on_grid(one, grid) for one in outputs], mean_of)

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        """The share of the cells of the finer grid for which both say the same class."""
        grid = finest((outputs, teacher_outputs))
        answers_Nhw, taught_Nhw = (on_grid(one, grid).argmax(1) for one in (outputs, teacher_outputs))
        return (answers_Nhw == taught_Nhw).float().mean(dim=(1, 2))

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """The mean over cells of the entropy as a share of the largest, log K."""
        logs_NKhw = outputs.float().log_softmax(1)
        entropy_N: Tensor = -(logs_NKhw.exp() * logs_NKhw).sum(1).mean(dim=(1, 2))
        return entropy_N / math.log(max(outputs.shape[1], 2))

    def answer_form(self, asked: Asked) -> AnswerForm:
        return answer_form(asked)

    def answer(self, outputs: JoinedMap, asked: Asked, small_HW3: Pixels | None) -> Answer:
        return answer_of(outputs, asked, small_HW3)

    def meter(self, classes: Sequence[str]) -> "SegmentationMeter":
        from taskdistill.tasks.problems.segmentation_meter import SegmentationMeter  # matplotlib

        return SegmentationMeter(classes)

    def _weights_of(self, targets: Tensor) -> Tensor | None:
        # A few numbers, copied at once from wherever they lie: nothing waits for them.
        return None if self._weights_K is None else self._weights_K.to(targets.device, non_blocking=True)


def _as_targets(mask_HW: Pixels) -> npt.NDArray[np.int64]:
    targets_HW = mask_HW.astype(np.int64)
    targets_HW[mask_HW == UNKNOWN] = IGNORED
    return targets_HW


def _class_pixels(images: ImageSet) -> ClassPixels:
    """Return the pixels of the training masks: as ingest counted them, or counted now where it did not."""
    noted = noted_of(images)
    if not (noted.pixels and noted.pixels_of_images):
        return pixels_of_classes((_mask(images, int(row)) for row in images.rows_of("train")), len(images.classes))
    of_train = ([of[name]["train"] for name in images.classes] for of in (noted.pixels, noted.pixels_of_images))
    return ClassPixels(*(np.asarray(counts_K, np.float64) for counts_K in of_train))


def _mask(images: ImageSet, row: int) -> Pixels:
    """Return the mask of a row, [H, W] uint8; raises as `Segmentation.target` does."""
    if (encoded := images.mask(row)) is None:
        raise _no_mask(images, row)
    with Image.open(io.BytesIO(encoded), formats=["PNG"]) as picture:
        mask_HW = np.asarray(picture)
    size = int(images.heights[row]), int(images.widths[row])
    if mask_HW.dtype != np.uint8 or mask_HW.shape != size:
        raise CorruptArtifactError(
            f"the mask of image {images.ids[row]!r} is {mask_HW.dtype} of shape {mask_HW.shape}, where 8-bit grey of "
            f"{size} is stored: {advice(images.folder)}"
        )
    if len(beyond := np.unique(mask_HW[(mask_HW >= len(images.classes)) & (mask_HW != UNKNOWN)])):
        raise CorruptArtifactError(
            f"the mask of image {images.ids[row]!r} has the values {beyond[:4].tolist()}, and there are "
            f"{len(images.classes)} classes, numbered from 0: {advice(images.folder)}"
        )
    return mask_HW


def _no_mask(images: ImageSet, row: int) -> DatasetError:
    return DatasetError(
        f"image {images.ids[row]!r} ({images.splits[row]}) of image-set@{images.fingerprint[:12]} has no mask, and "
        "'segmentation' learns from masks: ingest the images with their masks, or set 'problem' to 'classification' "
        "where they have labels"
    )
