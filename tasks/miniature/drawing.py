"""Painting batches of pictures with signed-distance shapes.

A shape is a distance in pixels, negative inside; it covers a pixel by clamp(0.5 - distance, 0, 1), which is an
antialiased edge for one subtraction. Shapes are painted back to front, and where one covers more than half of a pixel
the pixel takes its label: picture and mask cannot disagree.

Shape letters: N pictures, C = 3 colour channels (0..1), H W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Canvas(NamedTuple):
    """What is painted on: both are changed in place."""

    images_NCHW: Tensor
    labels_NHW: Tensor
    """uint8."""


class Frame(NamedTuple):
    """A coordinate system: where each pixel lies in it, and how many pixels its unit is long."""

    x_NHW: Tensor
    y_NHW: Tensor
    px_per_unit_N: Tensor


class Capsule(NamedTuple):
    """A stroke between two points whose width changes from one end to the other; each field [N]."""

    x0: Tensor
    y0: Tensor
    x1: Tensor
    y1: Tensor
    radius0: Tensor
    radius1: Tensor


def picture_frame(num_pictures: int, side_px: int) -> Frame:
    """Coordinates -1..1 from the left to the right and from the top to the bottom edge."""
    ticks = (torch.arange(side_px) + 0.5) / side_px * 2 - 1
    x_NHW = ticks.view(1, 1, -1).expand(num_pictures, side_px, side_px)
    return Frame(x_NHW, x_NHW.transpose(1, 2), torch.full((num_pictures,), side_px / 2))


def capsule_distance(frame: Frame, shape: Capsule) -> tuple[Tensor, Tensor]:
    """Return the distance in pixels [N, H, W], and the position along the stroke from 0 to 1."""
    span_x, span_y = shape.x1 - shape.x0, shape.y1 - shape.y0
    length_squared = (span_x.square() + span_y.square()).clamp_min(1e-6)
    from_x, from_y = frame.x_NHW - _wide(shape.x0), frame.y_NHW - _wide(shape.y0)
    along_NHW = from_x * _wide(span_x / length_squared)
    along_NHW.addcmul_(from_y, _wide(span_y / length_squared)).clamp_(0, 1)
    from_x.addcmul_(along_NHW, _wide(span_x), value=-1)
    from_y.addcmul_(along_NHW, _wide(span_y), value=-1)
    distance_NHW = from_x.square_().add_(from_y.square_()).sqrt_()
    distance_NHW.sub_(_wide(shape.radius0)).addcmul_(along_NHW, _wide(shape.radius0 - shape.radius1))
    return distance_NHW.mul_(_wide(frame.px_per_unit_N)), along_NHW


def ellipse_distance(frame: Frame, x: Tensor, y: Tensor, radius_x: Tensor, radius_y: Tensor) -> Tensor:
    """Return the distance in pixels to an upright ellipse, to first order: exact at the edge, where it counts."""
    across_x, across_y = (frame.x_NHW - _wide(x)) / _wide(radius_x), (frame.y_NHW - _wide(y)) / _wide(radius_y)
    level_NHW = (across_x.square() + across_y.square()).sqrt_()
    slope_NHW = across_x.div_(_wide(radius_x)).square_().add_(across_y.div_(_wide(radius_y)).square_()).sqrt_()
    distance_NHW = (level_NHW - 1).mul_(level_NHW).div_(slope_NHW.clamp_min_(1e-6))
    return distance_NHW.mul_(_wide(frame.px_per_unit_N))


def coverage(distance_NHW: Tensor) -> Tensor:
    """Return how much of each pixel a shape covers, 0..1."""
    return (0.5 - distance_NHW).clamp_(0, 1)


def paint(canvas: Canvas, coverage_NHW: Tensor, colours: Tensor, label: int) -> None:
    """Paint colours [N, C], or [N, C, H, W], where a shape covers, and label the pixels it mostly covers."""
    tint(canvas, coverage_NHW, colours)
    canvas.labels_NHW.masked_fill_(coverage_NHW > 0.5, label)


def tint(canvas: Canvas, coverage_NHW: Tensor, colours: Tensor) -> None:
    """Paint without a label: a mark on a part, not a part."""
    if colours.ndim == 2:
        colours = colours[:, :, None, None]
    canvas.images_NCHW.lerp_(colours, coverage_NHW.unsqueeze(1))


def rounded(distance_NHW: Tensor, colours: Tensor) -> Tensor:
    """Darken colours [N, C] or [N, C, H, W] towards the edge of a shape, as if it bulged; [N, C, H, W]."""
    if colours.ndim == 2:
        colours = colours[:, :, None, None]
    shade_NHW = (distance_NHW * -0.06).add_(0.80).clamp_(0.75, 1)
    return colours * shade_NHW.unsqueeze(1)


def _wide(values_N: Tensor) -> Tensor:
    return values_N[:, None, None]
