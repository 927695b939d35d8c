"""What a segmentation model says of an image without a mask: a mask as PNG with a palette, the image under its colours,
and how much of the image is what.

Shape letters: K classes, H W pixels, R rows of them.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.views import UNKNOWN, Pixels
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked, ranked, ranked_columns, rounded
from taskdistill.tasks.problems.palette import Colours, laid_over

MASK, OVERLAY = "mask", "overlay"
_NUM_COLOURS = 256


def answer_form(asked: Asked) -> AnswerForm:
    """probability: the mean over pixels; top1, share1 ...: the classes of most pixels; unknown: the share of pixels
    below the threshold.
    """
    columns = {"probability": float, "unknown": float, **ranked_columns(asked, "share")}
    return AnswerForm(columns, (MASK, OVERLAY))


def answer_of(said: JoinedMap, asked: Asked, small_HW3: Pixels | None) -> Answer:
    """Return the class of each pixel, UNKNOWN (255) where its probability is below the threshold."""
    labels_HW = np.empty((said.height, said.width), np.uint8)
    sum_of_sure = 0.0
    for rows in said.strips():
        logits_KRW = said.rows(rows).div_(asked.temperature)
        best_RW, labels_RW = logits_KRW.max(dim=0)
        # The softmax of the best class is 1 over the sum of what the others are to it.
        sure_RW = logits_KRW.sub_(best_RW).exp_().sum(dim=0).reciprocal_()
        sum_of_sure += float(sure_RW.double().sum())
        labels_RW[sure_RW < asked.threshold] = UNKNOWN
        labels_HW[rows.start : rows.stop] = labels_RW.cpu().numpy()
    pixels = np.bincount(labels_HW.ravel(), minlength=_NUM_COLOURS)
    columns = {
        "probability": rounded(sum_of_sure / labels_HW.size),
        "unknown": rounded(pixels[UNKNOWN] / labels_HW.size),
        **ranked(asked, "share", pixels[: len(asked.classes)] / labels_HW.size),
    }
    pictures = {MASK: mask_picture(labels_HW, asked.colours_K3)}
    if small_HW3 is not None:
        pictures[OVERLAY] = Image.fromarray(laid_over(small_HW3, _shrunk(labels_HW, small_HW3), asked.colours_K3))
    return Answer(columns, pictures)


def mask_picture(labels_HW: Pixels, colours_K3: Colours) -> Image.Image:
    """Return a mask whose values are the numbers of the classes, in their colours; what is none of them is white."""
    palette = np.full((_NUM_COLOURS, 3), 255, np.uint8)
    palette[: len(colours_K3)] = colours_K3
    picture = Image.fromarray(labels_HW)
    picture.putpalette(palette.tobytes())
    return picture


def _shrunk(labels_HW: Pixels, small_HW3: Pixels) -> npt.NDArray[np.int64]:
    """Return the labels of the pixels that lie in the middle of those of a smaller picture."""
    rows, columns = (
        ((np.arange(small) + 0.5) * (full / small)).astype(int)
        for small, full in zip(small_HW3.shape[:2], labels_HW.shape, strict=True)
    )
    return labels_HW[np.ix_(rows, columns)].astype(np.int64)
