"""The metrics of segmentation over a stream of images, none of whose logits are ever held as a whole.

Of each image stay three counts a class and a few numbers, of all together a confusion matrix and the bins of the
calibration error. All counts are of pixels whose class is known; agreement with the teacher is of all pixels.

Shape letters: N images, K classes, B bins, h w cells of a map, H W pixels, R rows of pixels, P pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.tasks.functional.boundaries import boundary_score
from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.ratios import mean_ratio, ratios, values_by_image
from taskdistill.tasks.problems.overlays import ImageScores, Judged, Snapshot, draw_overlays, snapshot
from taskdistill.tasks.problems.palette import Colours, NamedColours, palette
from taskdistill.tasks.problems.pictures import draw_bars, draw_confusion
from taskdistill.tasks.problems.problem import PixelsOf

CALIBRATION_BINS = 15
UNKNOWN = -1
"""In label maps here, whatever number a target has where nobody knows the class."""

Counts = npt.NDArray[np.int64]


class Ratio(NamedTuple):
    """A metric as the mean over classes of a ratio of sums over images, [N, K] each; K is 1 where it has no classes."""

    parts_NK: npt.NDArray[Any]
    wholes_NK: npt.NDArray[Any]


class SegmentationMeter:
    """Takes maps of logits [N, K, h, w] with targets [N, H, W], which they are brought to the grid of, or images that
    were joined from windows.

    A target that is none of the classes 0..K-1, such as IGNORED, is unknown.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        num_classes = len(classes)
        self._classes = classes
        self._confusion_KK = np.zeros((num_classes, num_classes), np.int64)
        self._bins_B3 = torch.zeros(CALIBRATION_BINS, 3, dtype=torch.float64)
        self._right: list[npt.NDArray[np.int32]] = []
        self._predicted: list[npt.NDArray[np.int32]] = []
        self._true: list[npt.NDArray[np.int32]] = []
        self._boundary: list[float] = []
        self._agreed: list[tuple[int, int]] = []
        self._snapshots: list[Snapshot] = []

    def update(
        self, outputs: Tensor | JoinedMap, targets: Tensor, *, teacher: Tensor | JoinedMap | None = None
    ) -> None:
        # Whole images alone are kept for pictures: a probe judges dozens of heads on views, and nobody looks at those.
        is_whole = isinstance(outputs, JoinedMap)
        for image, truth_HW in enumerate(targets):
            says = _on_grid(outputs, image, truth_HW)
            judged = self._read(says, truth_HW, None if teacher is None else _on_grid(teacher, image, truth_HW))
            if is_whole:
                self._snapshots.append(snapshot(judged))

    def _read(self, says: JoinedMap, truth_HW: Tensor, knows: JoinedMap | None) -> Judged:
        """Count one image, strip by strip; returns its label maps."""
        # Filled in place: small arrays kept of each strip would lie in the holes that logits leave, so that the next
        # logits do not fit there (8,000 x 1,000 pixels, 150 classes: the heap grew by 2 GB; in place by 0.1 GB).
        maps = [np.empty(truth_HW.shape, np.int16) for _ in range(2 if knows is None else 3)]
        counts_KK, agreed = np.zeros_like(self._confusion_KK), 0
        for rows in says.strips():
            strip = _strip(says, rows, truth_HW[rows.start : rows.stop])
            self._bins_B3 += strip.bins_B3
            counts_KK += strip.counts_KK
            labels = [strip.predicted_RW, strip.truth_RW]
            if knows is not None:
                labels.append(knows.rows(rows).max(dim=0).indices.to(strip.predicted_RW.device))
                agreed += int((labels[-1] == strip.predicted_RW).sum())
            for labels_HW, labels_RW in zip(maps, labels, strict=True):
                labels_HW[rows.start : rows.stop] = labels_RW.short().cpu()
        judged = Judged(*maps)
        self._count(counts_KK, judged, agreed)
        return judged

    def _count(self, counts_KK: Counts, judged: Judged, agreed: int) -> None:
        self._confusion_KK += counts_KK
        for kept, counts_K in (
            (self._right, counts_KK.diagonal()), (self._predicted, counts_KK.sum(0)), (self._true, counts_KK.sum(1)),
        ):  # fmt: skip
            kept.append(counts_K.astype(np.int32))
        self._boundary.append(boundary_score(judged.predicted_HW, judged.truth_HW, judged.truth_HW != UNKNOWN))
        if judged.teacher_HW is not None:
            self._agreed.append((agreed, judged.truth_HW.size))

    def compute(self) -> dict[str, float]:
        """Every metric in 0..1. Classes that are neither predicted nor true anywhere are no part of a mean over
        classes, as in mmsegmentation; nor are those of which there is no pixel part of the mean accuracy.
        """
        values = {name: mean_ratio(*ratio) for name, ratio in self._ratios().items()}
        count_B, sure_B, right_B = self._bins_B3.numpy().T
        return values | {"ece": float(np.abs(sure_B - right_B).sum() / max(count_B.sum(), 1))}

    def standard_errors(self) -> dict[str, float]:
        """Of all but the calibration error, by linearisation of the ratios (functional.ratios)."""
        return {name: standard_error(values_by_image(*ratio)) for name, ratio in self._ratios().items()}

    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """score: values whose mean is mIoU; the metrics of each image alone, NaN where none of it is known; and pixels
        of each class [N, K], right, predicted and true, from which mIoU of any images together can be counted.
        """
        alone = {name: _of_each(ratio) for name, ratio in self._ratios().items()}
        pixels = {"right": self._right, "predicted": self._predicted, "true": self._true}
        return {
            "score": values_by_image(*self._ratios()["miou"]),
            **{f"image_{name}": values_N for name, values_N in alone.items()},
            **{f"pixels_{name}": np.stack(of_images) for name, of_images in pixels.items()},
        }

    def class_columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """IoU and accuracy of each class, NaN where there is nothing to divide by; its true pixels, and in how many
        images they are.
        """
        found = self._ratios()
        true_NK = np.stack(self._true)
        return {
            "IoU": ratios(*found["miou"]),
            "accuracy": ratios(*found["mean_accuracy"]),
            "pixels": true_NK.sum(axis=0, dtype=np.int64),
            "images": (true_NK > 0).sum(axis=0),
        }

    def draw(self, folder: Path, name: str, pixels_of: PixelsOf, colours_K3: Colours | None = None) -> None:
        named = NamedColours(self._classes, palette(len(self._classes)) if colours_K3 is None else colours_K3)
        shares_NK, is_true_NK = _shares(self._ratios()["miou"]), np.stack(self._true) > 0
        of_images = ImageScores(shares_NK, np.where(is_true_NK, shares_NK, np.nan))
        if self._snapshots:
            draw_overlays(folder / name, named, self._snapshots, of_images, pixels_of)
        draw_bars(folder / f"{name}-classes.png", self.class_columns()["IoU"], named)
        # In per cent of the true class: counts of pixels would not fit in the fields.
        shares_KK = 100 * self._confusion_KK / np.maximum(self._confusion_KK.sum(axis=1, keepdims=True), 1)
        draw_confusion(folder / f"{name}-confusion.png", np.rint(shares_KK).astype(np.int64), self._classes)

    def _ratios(self) -> dict[str, Ratio]:
        right_NK, predicted_NK, true_NK = (np.stack(kept) for kept in (self._right, self._predicted, self._true))
        has_truth_N1 = np.asarray(true_NK.any(axis=1, keepdims=True), np.float64)
        found = {
            "miou": Ratio(right_NK, predicted_NK + true_NK - right_NK),
            "mean_accuracy": Ratio(right_NK, true_NK),
            "pixel_accuracy": Ratio(right_NK.sum(1, keepdims=True), true_NK.sum(1, keepdims=True)),
            "boundary_f": Ratio(np.asarray(self._boundary, np.float64)[:, None] * has_truth_N1, has_truth_N1),
        }
        if self._agreed:
            agreed_N2 = np.asarray(self._agreed)
            found["teacher_agreement"] = Ratio(agreed_N2[:, :1], agreed_N2[:, 1:])
        return found


def _on_grid(outputs: Tensor | JoinedMap, image: int, truth_HW: Tensor) -> JoinedMap:
    """Return the logits of one sample on the grid of its target."""
    if isinstance(outputs, JoinedMap):
        return outputs
    height, width = truth_HW.shape
    whole_19 = np.asarray([[0, 0, height, width, 0, 1, 1, 1, 0]], np.float32)
    return JoinedMap(outputs[image : image + 1], whole_19, height, width)


class _Strip(NamedTuple):
    """What was counted of some rows of an image; the label maps are where the logits were."""

    predicted_RW: Tensor
    truth_RW: Tensor
    counts_KK: Counts
    bins_B3: Tensor


def _strip(says: JoinedMap, rows: range, targets_RW: Tensor) -> _Strip:
    logits_KRW = says.rows(rows)
    best_RW, predicted_RW = logits_KRW.max(dim=0)
    targets_RW = targets_RW.to(predicted_RW.device).long()
    is_known_RW = (targets_RW >= 0) & (targets_RW < says.num_classes)
    truth_RW = torch.where(is_known_RW, targets_RW, UNKNOWN)
    # The softmax of the best class is 1 over the sum of what the others are to it.
    sure_RW = logits_KRW.sub_(best_RW).exp_().sum(dim=0).reciprocal_()
    pairs_P = truth_RW[is_known_RW] * says.num_classes + predicted_RW[is_known_RW]
    counts = torch.bincount(pairs_P, minlength=says.num_classes**2).view(says.num_classes, -1).cpu()
    bins_B3 = _bins(sure_RW[is_known_RW], (predicted_RW == truth_RW)[is_known_RW])
    return _Strip(predicted_RW, truth_RW, torch.Tensor.numpy(counts), bins_B3)


def _bins(sure_P: Tensor, is_right_P: Tensor) -> Tensor:
    """Return [B, 3], on the CPU: pixels, and sums of confidence and of right answers, in bins of equal width.

    In float64, as millions of pixels are added.
    """
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, device=sure_P.device)
    place_P = torch.bucketize(sure_P, edges, right=True).sub_(1).clamp_(max=CALIBRATION_BINS - 1)
    sums = [
        torch.bincount(place_P, weight_P, minlength=CALIBRATION_BINS).double().cpu()
        for weight_P in (None, sure_P.double(), is_right_P.double())
    ]
    return torch.stack(sums, dim=1)


def _shares(ratio: Ratio) -> npt.NDArray[np.float64]:
    """Return [N, K], the ratio of each image by itself; NaN where there is nothing to divide by."""
    nothing_NK = np.full(ratio.parts_NK.shape, np.nan)
    return np.asarray(np.divide(ratio.parts_NK, ratio.wholes_NK, out=nothing_NK, where=ratio.wholes_NK > 0))


def _of_each(ratio: Ratio) -> npt.NDArray[np.float64]:
    """Return [N], the mean over classes of each image by itself; NaN where it has none."""
    shares_NK = _shares(ratio)
    count_N = (~np.isnan(shares_NK)).sum(axis=1)
    return np.asarray(np.where(count_N > 0, np.nansum(shares_NK, axis=1) / np.maximum(count_N, 1), np.nan))
