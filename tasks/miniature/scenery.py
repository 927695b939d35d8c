"""Everything in a picture that is not the bird: land and sky, leaves, a branch, the light, the noise of the sensor.

Nothing here depends on the species; it is what a network has to learn to look past.

Shape letters: N pictures, C = 3 colour channels (0..1), H W pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from taskdistill.tasks.miniature.drawing import Canvas, Capsule, Frame, capsule_distance, coverage, paint, picture_frame

BACKGROUND, FOLIAGE, BRANCH = 0, 1, 2

# Land and sky in the colours of birds: a picture's mean colour tells little.
_SKIES = torch.tensor([(0.66, 0.78, 0.86), (0.80, 0.82, 0.80), (0.88, 0.78, 0.66), (0.50, 0.62, 0.68)])
_LANDS = torch.tensor([(0.45, 0.52, 0.30), (0.56, 0.48, 0.34), (0.34, 0.42, 0.36), (0.62, 0.60, 0.46)])
_LEAVES = torch.tensor([(0.27, 0.44, 0.20), (0.42, 0.54, 0.24), (0.55, 0.46, 0.22), (0.24, 0.36, 0.26)])
_BARKS = torch.tensor([(0.36, 0.27, 0.20), (0.44, 0.39, 0.34), (0.27, 0.22, 0.18)])

_OCTAVES = ((4, 0.09), (9, 0.06), (20, 0.04))
"""Cells of each layer of the texture along a side, and how strong it is."""

NUM_LEAVES_BEHIND, NUM_LEAVES_BEFORE = 5, 2


def normal(generator: torch.Generator, num: int, spread: float, mean: float = 0.0) -> Tensor:
    return torch.randn(num, generator=generator) * spread + mean


def uniform(generator: torch.Generator, num: int, low: float, high: float) -> Tensor:
    return torch.rand(num, generator=generator) * (high - low) + low


def _one_of(colours: Tensor, num: int, generator: torch.Generator) -> Tensor:
    chosen = colours[torch.randint(len(colours), (num,), generator=generator)]
    return chosen + torch.randn(num, 3, generator=generator) * 0.05


def texture(num: int, side_px: int, generator: torch.Generator) -> Tensor:
    """Return smooth random unevenness around 0, [N, H, W]."""
    total_NHW = torch.zeros(num, side_px, side_px)
    for cells, strength in _OCTAVES:
        coarse = torch.randn(num, 1, cells, cells, generator=generator)
        total_NHW.add_(interpolate(coarse, side_px, mode="bilinear", align_corners=False)[:, 0], alpha=strength)
    return total_NHW


def landscape(num: int, side_px: int, generator: torch.Generator) -> Canvas:
    """Return new canvases with sky above land, both textured, and a horizon anywhere or out of sight."""
    frame = picture_frame(num, side_px)
    uneven_NHW = texture(num, side_px, generator)
    horizon, softness = uniform(generator, num, -1.1, 1.3), uniform(generator, num, 0.05, 0.8)
    land_NHW = (frame.y_NHW - horizon[:, None, None] + uneven_NHW * 1.5).div_(softness[:, None, None])
    land_NHW.add_(0.5).clamp_(0, 1)
    images_NCHW = torch.lerp(
        _one_of(_SKIES, num, generator)[:, :, None, None],
        _one_of(_LANDS, num, generator)[:, :, None, None],
        land_NHW.unsqueeze(1),
    )
    images_NCHW.add_(uneven_NHW.unsqueeze(1))
    return Canvas(images_NCHW, torch.full((num, side_px, side_px), BACKGROUND, dtype=torch.uint8))


def paint_leaves(canvas: Canvas, frame: Frame, num_leaves: int, generator: torch.Generator) -> None:
    """Paint leaves anywhere in the picture."""
    num = len(canvas.labels_NHW)
    for _ in range(num_leaves):
        x, y = uniform(generator, num, -1, 1), uniform(generator, num, -1, 1)
        length, angle = uniform(generator, num, 0.12, 0.34), uniform(generator, num, 0, math.tau)
        width = length * uniform(generator, num, 0.25, 0.5)
        leaf = Capsule(x, y, x + length * angle.cos(), y + length * angle.sin(), width, width * 0.1)
        distance_NHW, along_NHW = capsule_distance(frame, leaf)
        colours = _one_of(_LEAVES, num, generator)
        vein_NHW = along_NHW.mul_(-0.25).add_(1.1)
        paint(canvas, coverage(distance_NHW), colours[:, :, None, None] * vein_NHW.unsqueeze(1), FOLIAGE)


def paint_branch(canvas: Canvas, frame: Frame, foot_x: Tensor, foot_y: Tensor, generator: torch.Generator) -> None:
    """Paint a tilted branch that passes under the bird's feet, a place in the picture's own frame."""
    num = len(canvas.labels_NHW)
    slope = normal(generator, num, 0.18)
    thickness = uniform(generator, num, 0.045, 0.10)
    y = foot_y + thickness
    branch = Capsule(
        torch.full((num,), -1.3), y - slope * (foot_x + 1.3), torch.full((num,), 1.3), y + slope * (1.3 - foot_x),
        thickness * uniform(generator, num, 0.7, 1.2), thickness * uniform(generator, num, 0.7, 1.2),
    )  # fmt: skip
    distance_NHW, _ = capsule_distance(frame, branch)
    shade_NHW = (distance_NHW * -0.05).add_(0.8).clamp_(0.7, 1.1)
    colours = _one_of(_BARKS, num, generator)[:, :, None, None] * shade_NHW.unsqueeze(1)
    paint(canvas, coverage(distance_NHW), colours, BRANCH)


def light(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, uint8 [N, H, W, C], under another light: gain, gradient, colour cast, sensor noise."""
    num, _, height, _ = images_NCHW.shape
    frame = picture_frame(num, height)
    gain, angle = normal(generator, num, 0.10, 1.0), uniform(generator, num, 0, math.tau)
    slope = normal(generator, num, 0.10)
    across_NHW = frame.x_NHW * (slope * angle.cos())[:, None, None]
    gain_NHW = across_NHW.addcmul_(frame.y_NHW, (slope * angle.sin())[:, None, None]).add_(gain[:, None, None])
    cast_NC = torch.randn(num, 3, generator=generator) * 0.035 + 1
    lit_NCHW = images_NCHW.mul_(gain_NHW.unsqueeze(1)).mul_(cast_NC[:, :, None, None])
    grain_NHW = torch.randn(num, height, height, generator=generator) * 0.02
    lit_NCHW.add_(grain_NHW.unsqueeze(1)).clamp_(0, 1).mul_(255).add_(0.5)
    return lit_NCHW.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
