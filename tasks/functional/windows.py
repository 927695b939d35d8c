"""The boxes of an image that a network is shown one after the other where the image is judged as a whole.

Shape letters: M windows; 9 numbers cut one, as any view (`tasks.functional.views`).
"""

import math

import numpy as np
import numpy.typing as npt

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.tasks.functional.views import View

Boxes = npt.NDArray[np.int64]


def windows_of(height: int, width: int, width_to_height: float, clean_9: View, settings: WindowSettings) -> View:
    """Return the windows [M, 9] of an image, for a network whose pictures have this ratio and this clean view of it."""
    if settings.show == "clean":
        boxes_M4 = clean_9[None, :4].astype(np.int64)
    elif settings.show == "whole":
        boxes_M4 = _centred(height, width, max(height, width / width_to_height), width_to_height)
    else:
        fitting = settings.window_px or min(height, width / width_to_height)
        sizes = [fitting / scale for scale in settings.scales]
        boxes_M4 = np.concatenate([_sliding(height, width, size, width_to_height, settings.stride) for size in sizes])
    flips = (0, 1) if settings.flip == "horizontal" else (0,)
    return np.asarray([[*box_4, flip, 1, 1, 1, 0] for flip in flips for box_4 in boxes_M4], np.float32)


def _sliding(height: int, width: int, box_height: float, width_to_height: float, stride: float) -> Boxes:
    """Return windows that cover the image, the last of a row or column moved back so that it ends where the image does
    (slide_inference of mmsegmentation); along an axis on which the image is the smaller, one window around it.
    """
    rows, columns = max(1, round(box_height)), max(1, round(box_height * width_to_height))
    tops, lefts = _starts(height, rows, stride), _starts(width, columns, stride)
    return np.asarray([[top, left, rows, columns] for top in tops for left in lefts])


def _starts(length: int, window: int, stride: float) -> list[int]:
    if window >= length:
        return [(length - window) // 2]
    step = max(1, int(window * stride))
    count = math.ceil((length - window) / step) + 1
    return [min(number * step, length - window) for number in range(count)]


def _centred(height: int, width: int, box_height: float, width_to_height: float) -> Boxes:
    rows, columns = max(1, round(box_height)), max(1, round(box_height * width_to_height))
    return np.asarray([[(height - rows) // 2, (width - columns) // 2, rows, columns]])
