"""Outputs of a network for windows of an image, joined on the image's own grid, some rows at a time.

A map of 150 classes on an image of 8,000 x 6,000 pixels would be 29 GB: nobody ever holds it whole. Rows are
interpolated (bilinear, corners not aligned, as torch's `interpolate` does for the whole) when they are asked for, and
no row depends on which others were asked for with it.

Shape letters: M windows, K classes, h w cells of a map, H W pixels of the image, R rows of it, P pixels
along one axis; 9 numbers cut a window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from taskdistill.tasks.functional.views import View

STRIP_BYTES, STRIP_ROWS = 4 << 20, 4
"""Of the logits of one strip of rows, and rows that it has at least: what fits into the caches of a CPU is interpolated
several times faster, and the cells between which rows lie are widened once for all of a strip.
"""


class Window(NamedTuple):
    """What a network said of one box of the image, as the image lies."""

    map_Khw: Tensor
    top: int
    left: int
    height: int
    width: int

    def at(self, rows: range, columns: range) -> Tensor:
        """Return [K, R, columns] for these pixels; beyond the box, what its nearest cell says."""
        of_rows = between(self._numbers(rows), self.top, self.height, self.map_Khw.shape[1])
        of_columns = between(self._numbers(columns), self.left, self.width, self.map_Khw.shape[2])
        # Columns first, of the few rows of cells that these rows of pixels lie between: it is the smaller work.
        first, last = int(of_rows.before[0]), int(of_rows.after[-1])
        part_Kh = self.map_Khw[:, first : last + 1].float()
        wide_Kh = blend(part_Kh, 2, of_columns, of_columns.share)
        of_part = Between(of_rows.before - first, of_rows.after - first, of_rows.share)
        return blend(wide_Kh, 1, of_part, of_part.share[:, None])

    def _numbers(self, pixels: range) -> Tensor:
        return torch.arange(pixels.start, pixels.stop, device=self.map_Khw.device)


class JoinedMap:
    """The mean over windows of their logits [K, H, W], whose softmax is the geometric mean of what each says.

    A pixel that several windows show is their mean, as in the slide inference of mmsegmentation. A window that is alone
    speaks for the whole image: pixels that it does not show get the answer of its nearest cell.

    outputs_MKhw: logits of any grid, on any device; views_M9: how each window was cut, mirrored ones included.
    """

    def __init__(self, outputs_MKhw: Tensor, views_M9: View, height: int, width: int) -> None:
        self.height, self.width, self.num_classes = height, width, outputs_MKhw.shape[1]
        self._windows = [
            Window(map_Khw.flip(2) if view_9[4] else map_Khw, *(int(value) for value in view_9[:4]))
            for map_Khw, view_9 in zip(outputs_MKhw, views_M9, strict=True)
        ]

    def strips(self, max_bytes: int = STRIP_BYTES) -> Iterator[range]:
        """Yield rows from top to bottom, as many at a time as fit in so many bytes of logits, and some at least."""
        num_rows = max(STRIP_ROWS, max_bytes // (4 * self.num_classes * self.width))
        for start in range(0, self.height, num_rows):
            yield range(start, min(start + num_rows, self.height))

    def rows(self, rows: range) -> Tensor:
        """Return the logits of some rows of the image, float32 [K, R, W], which the caller may change.

        Raises ValueError where several windows leave some of these pixels out.
        """
        if len(self._windows) == 1:
            return self._windows[0].at(rows, range(self.width))
        device = self._windows[0].map_Khw.device
        total_KRW = torch.zeros(self.num_classes, len(rows), self.width, device=device)
        count_RW = torch.zeros(len(rows), self.width, device=device)
        for window in self._windows:
            shown = range(max(rows.start, window.top), min(rows.stop, window.top + window.height))
            columns = range(max(0, window.left), min(self.width, window.left + window.width))
            if shown and columns:
                place = slice(shown.start - rows.start, shown.stop - rows.start), slice(columns.start, columns.stop)
                total_KRW[:, *place] += window.at(shown, columns)
                count_RW[place] += 1
        if not count_RW.all():
            raise ValueError(f"{len(self._windows)} windows do not cover the {self.height} x {self.width} image")
        return total_KRW.div_(count_RW)


class Between(NamedTuple):
    """Which two cells each pixel along one axis lies between, and the share of the second of them."""

    before: Tensor
    after: Tensor
    share: Tensor


def between(pixels_P: Tensor, start: int | Tensor, length: int | Tensor, num_cells: int) -> Between:
    """Return between which cells these pixels of an image lie; `length` pixels from `start` on are shown in so many."""
    centres_P = pixels_P.double() + 0.5 - start
    places_P = (centres_P * (num_cells / length) - 0.5).clamp(0, num_cells - 1)
    before_P = places_P.long()
    return Between(before_P, (before_P + 1).clamp(max=num_cells - 1), (places_P - before_P).float())


def blend(values: Tensor, axis: int, between: Between, share: Tensor) -> Tensor:
    """Return the values between two cells each along an axis; `share` is that of the second, in the axes' shape."""
    return values.index_select(axis, between.before).lerp_(values.index_select(axis, between.after), share)
