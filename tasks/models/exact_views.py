"""The clean view of an image in torch's operations alone, equal to the last bit to what Pillow cuts.

An exported network takes an image as it is, of any size. What it is shown must be what it was trained and scored on,
and neither antialiased resizing of torch nor that of ONNX gives Pillow's bytes. So Pillow's own arithmetic is written
down here (ImagingResample of src/libImaging/Resample.c, for 8 bits a channel): for each pixel of the result weights of
the pixels it comes from, in whole numbers of 22 bits; first along rows, rounded to bytes, then along columns (since
Pillow 13 the other way round where an image is made much less high). In float64 every sum is exact. A product with a
matrix takes the place of Pillow's loops, so that it can be traced with sizes that are not known: slower than Pillow for
large images, which a caller may shrink before.

Not equal at the border of an image that, shown whole, is narrower than one pixel of the view.

Shape letters: N images of one size, H W their pixels, S T height and width of the view, P pixels along one axis of the
view and I of the image, J with as many again on either side.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from taskdistill.tasks.functional.views import GREY
from taskdistill.tasks.models.preprocessing import Preprocessing

BITS = 22
"""Of Pillow's weights, 32 less 8 of the colour and 2 to spare."""


class Filter(NamedTuple):
    """A kernel of resampling, and how far from its centre it reaches."""

    reach: float
    weight: Callable[[Tensor], Tensor]


def _bilinear(away: Tensor) -> Tensor:
    return (1 - away).clamp(min=0)


def _bicubic(away: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5."""
    near = ((-0.5 + 2) * away - (-0.5 + 3)) * away * away + 1
    far = (((away - 5) * away + 8) * away - 4) * -0.5
    return torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))


def _lanczos(away: Tensor) -> Tensor:
    return torch.where(away < 3, _sinc(away) * _sinc(away / 3), torch.zeros_like(away))


def _sinc(away: Tensor) -> Tensor:
    angle = away * exactly(math.pi, away.device)
    return torch.where(angle == 0, torch.ones_like(away), angle.sin() / angle)


FILTERS = {"bilinear": Filter(1.0, _bilinear), "bicubic": Filter(2.0, _bicubic), "lanczos": Filter(3.0, _lanczos)}


class Axis(NamedTuple):
    """What a view shows along one axis: scalars, float64."""

    first: Tensor
    """The first pixel of the view whose centre lies in the image."""
    stop: Tensor
    """The first one after it whose centre does not."""
    begin: Tensor
    end: Tensor
    """Where the first of these pixels begins, and the last one ends, of the image's pixels: as Pillow is told."""
    in_image: Tensor
    """Pixels of the image."""

    def removed(self) -> Tensor:
        """Return how many pixels fewer there are in the view than in the image, with what is added to its border."""
        return self.in_image + self.before + self.after - (self.stop - self.first)

    @property
    def before(self) -> Tensor:
        """How often the first pixel of the image is repeated before it: the view may reach half a pixel beyond."""
        return (-self.begin).ceil().clamp(min=0)

    @property
    def after(self) -> Tensor:
        return (self.end - self.in_image).ceil().clamp(min=0)


class Box(NamedTuple):
    """The box of an image that its clean view shows, which may leave it: scalars, float64, in pixels of the image."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def clean_box(preprocessing: Preprocessing, height: Tensor, width: Tensor) -> Box:
    """Return what `views.clean_view` cuts out of an image of this height and width, scalars of float64."""
    if preprocessing.crop_mode == "squash":
        return Box(torch.zeros_like(height), torch.zeros_like(width), height, width)
    ratio, share = (exactly(x, height.device) for x in (preprocessing.width_to_height, preprocessing.crop_share))
    if preprocessing.crop_mode == "whole":
        box_height = torch.maximum(height, width / ratio)
    else:
        box_height = torch.minimum(height, width / ratio) * share
    box_rows, box_columns = (side.round().clamp(min=1) for side in (box_height, box_height * ratio))
    return Box(((height - box_rows) / 2).floor(), ((width - box_columns) / 2).floor(), box_rows, box_columns)


class CleanView(nn.Module):
    """uint8 RGB images [N, H, W, 3] -> what the network is shown of them, normalised float32 [N, 3, S, T]."""

    mean: Tensor
    std: Tensor
    grey: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._see = preprocessing
        self._filter = FILTERS[preprocessing.interpolation]
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("grey", torch.tensor(GREY, dtype=torch.float64).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels_NHW3: Tensor) -> Tensor:
        return (self.pixels(pixels_NHW3).float() - self.mean) / self.std

    def pixels(self, pixels_NHW3: Tensor) -> Tensor:
        """Return the bytes of the view as whole numbers, float64 [N, 3, S, T]."""
        rows, columns = self._axes(pixels_NHW3)
        num_rows, num_columns = self._see.size
        images_N3HW = pixels_NHW3.permute(0, 3, 1, 2).double()
        down_SH = self._weights(rows, num_rows, pixels_NHW3.shape[1])
        across_WT = self._weights(columns, num_columns, pixels_NHW3.shape[2]).T
        view_N3ST = _bytes(down_SH @ _bytes(images_N3HW @ across_WT))
        other_N3ST = _bytes(_bytes(down_SH @ images_N3HW) @ across_WT)
        less_high, less_wide = rows.removed(), columns.removed()
        view_N3ST = torch.where((less_high > 0) & (less_high > 2 * less_wide), other_N3ST, view_N3ST)
        shown_ST = _is_shown(rows, num_rows)[:, None] & _is_shown(columns, num_columns)
        return torch.where(shown_ST, view_N3ST, self.grey)

    def _axes(self, pixels_NHW3: Tensor) -> tuple[Axis, Axis]:
        """Return what `views.clean_view` cuts, of rows and of columns."""
        num_rows, num_columns = self._see.size
        height, width = (scalar(pixels_NHW3.shape[axis], pixels_NHW3.device) for axis in (1, 2))
        box = clean_box(self._see, height, width)
        return self._axis(box.top, box.height, height, num_rows), self._axis(box.left, box.width, width, num_columns)

    def _axis(self, start: Tensor, length: Tensor, in_image: Tensor, num_pixels: int) -> Axis:
        """Return which pixels of the view have their centre in the image (`views.shown_window`)."""
        first = torch.ceil(-(2 * start * num_pixels + length) / (2 * length)).clamp(min=0)
        stop = torch.ceil((2 * (in_image - start) * num_pixels - length) / (2 * length)).clamp(max=num_pixels)
        middle = start.clamp(min=0) + torch.minimum(start + length, in_image)
        in_the_middle = ((middle - 2 * start) * num_pixels / (2 * length)).floor().clamp(0, num_pixels - 1)
        has_one = first < stop
        first, stop = torch.where(has_one, first, in_the_middle), torch.where(has_one, stop, in_the_middle + 1)
        begin, end = (start + pixel * length / num_pixels for pixel in (first, stop))
        return Axis(first, stop, begin, end, in_image)

    def _weights(self, axis: Axis, num_pixels: int, in_image: int) -> Tensor:
        """Return the whole-numbered weights [P, I] of the image's pixels in each pixel of the view."""
        # Pillow is given the box of the padded image in single precision, and takes the difference in that.
        begin, end = ((edge + axis.before).float() for edge in (axis.begin, axis.end))
        scale = (end - begin).double() / (axis.stop - axis.first)
        places_P1 = torch.arange(num_pixels, dtype=torch.float64, device=scale.device)[:, None]
        centres_P1 = begin.double() + (places_P1 - axis.first + 0.5) * scale
        stretch = scale.clamp(min=1)
        reach = self._filter.reach * stretch
        # As many pixels again on either side stand for the repeated border: half a pixel of the view reaches beyond.
        pixels_J = torch.arange(-in_image, 2 * in_image, dtype=torch.float64, device=scale.device) + axis.before
        is_near_PJ = (pixels_J >= (centres_P1 - reach + 0.5).floor()) & (pixels_J < (centres_P1 + reach + 0.5).floor())
        is_near_PJ &= (pixels_J >= 0) & (pixels_J < axis.before + axis.in_image + axis.after)
        weights_PJ = self._filter.weight(((pixels_J - centres_P1 + 0.5) * (1 / stretch)).abs()) * is_near_PJ
        # Summed one after the other, as Pillow does: the last bit of a sum decides where a half is rounded to.
        shares_PJ = weights_PJ / weights_PJ.cumsum(1)[:, -1:] * 2**BITS
        whole_PJ = torch.where(shares_PJ < 0, (shares_PJ - 0.5).ceil(), (shares_PJ + 0.5).floor())
        before_PI, inside_PI, after_PI = whole_PJ.view(num_pixels, 3, in_image).unbind(1)
        pixels_I = torch.arange(in_image, device=scale.device)
        at_first_PI = before_PI.sum(1, keepdim=True) * (pixels_I == 0)
        return inside_PI + at_first_PI + after_PI.sum(1, keepdim=True) * (pixels_I == in_image - 1)


def _bytes(sums: Tensor) -> Tensor:
    rounded: Tensor = ((sums + 2 ** (BITS - 1)) / 2**BITS).floor()
    return rounded.clamp(0, 255)


def _is_shown(axis: Axis, num_pixels: int) -> Tensor:
    places_P = torch.arange(num_pixels, dtype=torch.float64, device=axis.first.device)
    return (places_P >= axis.first) & (places_P < axis.stop)


def exactly(number: float, device: torch.device) -> Tensor:
    """Return a number as a constant of float64: the exporter to ONNX rounds numbers of Python to float32."""
    return torch.tensor(number, dtype=torch.float64, device=device)


def scalar(number: int, device: torch.device) -> Tensor:
    """Return a number, which may be one that is not known when this is traced, as float64."""
    return torch.scalar_tensor(number, dtype=torch.float64, device=device)
