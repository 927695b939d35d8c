"""Pictures of judged segmentations: images with the classes of truth, teacher and model laid over them, and where the
model errs.

Label maps are kept small and packed until all images are judged, as only then it is known which to draw; the images
themselves are decoded again.

Shape letters: N images, K classes, H W pixels, h w those of a small picture.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.problems.names import drawable
from taskdistill.tasks.problems.palette import NamedColours, laid_over
from taskdistill.tasks.problems.pictures import AS_IT_IS, EDGE, MAX_NAMED_CLASSES, save
from taskdistill.tasks.problems.problem import PixelsOf

Labels = npt.NDArray[np.int16]

TILE = 240
"""Longer side of a small picture, in pixels."""
MAX_ROWS = 24
"""Rows of one picture: of more classes, those with the lowest IoU are drawn."""
NUM_EXAMPLES = 3
"""Of the best, the median and the worst images."""
WRONG = (230, 30, 30)
GAP = 4


class Judged(NamedTuple):
    """The classes of the pixels of one image, -1 where nobody knows: as said, as they are, as the teacher says."""

    predicted_HW: Labels
    truth_HW: Labels
    teacher_HW: Labels | None = None


class Snapshot(NamedTuple):
    """The same, small and packed: a few kilobytes."""

    size: tuple[int, int]
    packed: tuple[bytes | None, ...]

    def maps(self) -> Judged:
        found = (data and np.frombuffer(zlib.decompress(data), np.int16).reshape(self.size) for data in self.packed)
        return Judged(*found)  # type: ignore[arg-type]


class ImageScores(NamedTuple):
    """IoU of each class in each image by itself."""

    of_known_NK: npt.NDArray[np.float64]
    """NaN where the class is neither predicted nor true in the image."""
    of_true_NK: npt.NDArray[np.float64]
    """NaN where it is not true."""


class Example(NamedTuple):
    """An image to be drawn, and what is written beside it."""

    item: int
    words: str


def snapshot(judged: Judged) -> Snapshot:
    height, width = judged.truth_HW.shape
    share = min(1.0, TILE / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    rows, columns = (
        ((np.arange(small) + 0.5) * (full / small)).astype(int)
        for small, full in zip(size, (height, width), strict=True)
    )
    packed = tuple(
        labels if labels is None else zlib.compress(labels[np.ix_(rows, columns)].tobytes(), 1) for labels in judged
    )
    return Snapshot(size, packed)


def draw_overlays(
    path: Path, classes: NamedColours, snapshots: Sequence[Snapshot], scores: ImageScores, pixels_of: PixelsOf
) -> None:
    """Draw the best, the median and the worst images, and one for each class, in files beginning as `path` does."""
    overlays = Overlays(classes, snapshots, pixels_of)
    overlays.write(path.with_name(f"{path.name}-images.png"), _by_image(scores.of_known_NK))
    overlays.write(path.with_name(f"{path.name}-images-by-class.png"), _by_class(scores.of_true_NK, classes.names))


def _by_image(iou_NK: npt.NDArray[np.float64]) -> list[Example]:
    """Choose images by the mean IoU of the classes that are in each."""
    count_N = (~np.isnan(iou_NK)).sum(axis=1)
    iou_N = np.nansum(iou_NK, axis=1) / np.maximum(count_N, 1)
    known = np.flatnonzero(count_N)
    order = known[np.argsort(-iou_N[known], kind="stable")].tolist()
    count = min(NUM_EXAMPLES, max(1, len(order) // 3))
    middle = (len(order) - count) // 2
    chosen: dict[int, Example] = {}  # of few images one is several of these, and is drawn once
    for word, items in {
        "best": order[:count],
        "worst": order[-count:],
        "median": order[middle : middle + count],
    }.items():
        for item in items:
            chosen.setdefault(item, Example(item, f"{word}: mIoU {100 * iou_N[item]:.1f} %"))
    return sorted(chosen.values(), key=lambda example: order.index(example.item))


def _by_class(iou_NK: npt.NDArray[np.float64], classes: Sequence[str]) -> list[Example]:
    """Choose for each class the image that is the median of those it is in; of many classes, those worst off there."""
    names, found = drawable(classes).shown, []
    for number in np.flatnonzero((~np.isnan(iou_NK)).any(axis=0)).tolist():
        having = np.flatnonzero(~np.isnan(iou_NK[:, number]))
        item = int(having[np.argsort(iou_NK[having, number], kind="stable")[len(having) // 2]])
        found.append((float(iou_NK[item, number]), number, item))
    drawn = sorted(sorted(found)[:MAX_ROWS], key=lambda one: one[1])
    return [Example(item, f"{names[number]}: IoU {100 * iou:.1f} %") for iou, number, item in drawn]


class Overlays:
    """Draws rows of small pictures: image, truth, teacher where there is one, model, error."""

    def __init__(self, classes: NamedColours, snapshots: Sequence[Snapshot], pixels_of: PixelsOf) -> None:
        self._classes, self._snapshots, self._pixels_of = classes, snapshots, pixels_of

    def write(self, path: Path, examples: Sequence[Example]) -> None:
        if not examples:
            return
        rows = [self._tiles(example.item) for example in examples]
        headings = ["image", "truth", *(["teacher"] if len(rows[0]) == 5 else []), "model", "error"]
        heights = [tiles[0].shape[0] + 6 * GAP for tiles in rows]
        sheet = np.full((sum(heights), len(headings) * (TILE + GAP), 3), 255, np.uint8)
        figure = Figure(figsize=(sheet.shape[1] / 100, (sheet.shape[0] + 120) / 100), layout="constrained")
        axes = figure.add_subplot()
        for top, tiles, example in zip(np.cumsum([0, *heights[:-1]]).tolist(), rows, examples, strict=True):
            for column, tile in enumerate(tiles):
                height, width = tile.shape[:2]
                left = column * (TILE + GAP)
                sheet[top + 5 * GAP : top + 5 * GAP + height, left : left + width] = tile
            words = f"{example.words} (row {example.item} of the predictions)"
            axes.text(0, top + 4 * GAP, words, fontsize=9, **AS_IT_IS)
        axes.imshow(sheet)
        axes.set_xticks([(column + 0.5) * (TILE + GAP) for column in range(len(headings))], headings)
        axes.xaxis.tick_top()
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.set_frame_on(False)
        self._legend(figure, [example.item for example in examples])
        save(figure, path)

    def _tiles(self, item: int) -> list[Pixels]:
        maps = self._snapshots[item].maps()
        height, width = maps.truth_HW.shape
        picture = Image.fromarray(self._pixels_of(item)).resize((width, height), Image.Resampling.BOX)
        image_HW3 = np.asarray(picture)
        shown = [maps.truth_HW, *([] if maps.teacher_HW is None else [maps.teacher_HW]), maps.predicted_HW]
        grey_HW3 = np.repeat(np.asarray(picture.convert("L"))[:, :, None], 3, axis=2)
        is_wrong_HW = (maps.predicted_HW != maps.truth_HW) & (maps.truth_HW >= 0)
        error_HW3 = np.where(is_wrong_HW[:, :, None], np.asarray(WRONG, np.uint8), grey_HW3 // 2 + 96)
        colours_K3 = self._classes.colours_K3
        tiles = [image_HW3, *(laid_over(image_HW3, labels_HW, colours_K3) for labels_HW in shown), error_HW3]
        times = TILE // max(height, width)  # of an image of 64 px nobody would see much
        return [tile.repeat(times, axis=0).repeat(times, axis=1) for tile in tiles]

    def _legend(self, figure: Figure, items: Sequence[int]) -> None:
        """Say which colour is which class, of the classes that are drawn; of many, those of most pixels."""
        pixels = Counter[int]()
        for item in items:
            for labels in self._snapshots[item].maps():
                if labels is not None:
                    found, counts = np.unique(labels, return_counts=True)
                    pixels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        del pixels[-1]
        numbers = sorted(number for number, _ in pixels.most_common(MAX_NAMED_CLASSES))
        names, colours_K3 = drawable(self._classes.names).shown, self._classes.colours_K3 / 255
        patches = [Patch(facecolor=colours_K3[number], label=str(number), **EDGE) for number in numbers]
        more = f"and {len(pixels) - len(numbers)} more classes" if len(pixels) > len(numbers) else None
        legend = figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, title=more)
        for number, text in zip(numbers, legend.get_texts(), strict=True):
            text.set(text=names[number], **AS_IT_IS)
