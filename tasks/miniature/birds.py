"""The anatomy of a bird: each attribute as shapes in the bird's own frame, and the pose that places the frame.

In its own frame a bird looks right, stands upright around (0, 0), and reaches from about -1 (tail) to 1 (beak); y
points down. Every length varies a little from bird to bird, every colour too.

Shape letters: N birds, A attributes, C = 3 colour channels (0..1), H W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from taskdistill.tasks.miniature.attributes import ATTRIBUTES, INDEX, PALETTE
from taskdistill.tasks.miniature.drawing import (
    Canvas,
    Capsule,
    Frame,
    capsule_distance,
    coverage,
    ellipse_distance,
    paint,
    rounded,
    tint,
)
from taskdistill.tasks.miniature.scenery import normal, uniform

BODY, BELLY, WING, HEAD, BEAK, TAIL, LEGS = range(3, 10)

_RGB = torch.tensor(list(PALETTE.values()))
_NAMES = list(PALETTE)

# Rows of strokes: x0, y0, x1, y1, radius0, radius1; one row for each value of the attribute. Two strokes make a part;
# where one is enough the second repeats it.
_BEAKS = torch.tensor([
    [(0.60, -0.30, 0.80, -0.26, 0.120, 0.02), (0.60, -0.30, 0.80, -0.26, 0.120, 0.02)],
    [(0.60, -0.30, 1.08, -0.28, 0.055, 0.02), (0.60, -0.30, 1.08, -0.28, 0.055, 0.02)],
    [(0.58, -0.33, 0.84, -0.32, 0.105, 0.075), (0.85, -0.32, 0.86, -0.12, 0.070, 0.02)],
    [(0.60, -0.28, 0.90, -0.24, 0.050, 0.09), (0.90, -0.24, 0.98, -0.23, 0.090, 0.10)],
])  # fmt: skip
_TAILS = torch.tensor([
    [(-0.34, 0.10, -0.58, 0.17, 0.13, 0.11), (-0.34, 0.10, -0.58, 0.17, 0.13, 0.11)],
    [(-0.34, 0.10, -1.08, 0.26, 0.10, 0.06), (-0.34, 0.10, -1.08, 0.26, 0.10, 0.06)],
    [(-0.34, 0.08, -0.94, -0.06, 0.10, 0.025), (-0.34, 0.12, -0.88, 0.42, 0.10, 0.025)],
    [(-0.34, 0.10, -0.72, 0.03, 0.08, 0.13), (-0.34, 0.10, -0.70, 0.27, 0.08, 0.13)],
])  # fmt: skip
_CRESTS = torch.tensor([
    [(0.40, -0.30, 0.41, -0.30, 0.05, 0.05), (0.40, -0.30, 0.41, -0.30, 0.05, 0.05)],
    [(0.38, -0.44, 0.26, -0.82, 0.10, 0.015), (0.38, -0.44, 0.26, -0.82, 0.10, 0.015)],
    [(0.38, -0.46, 0.40, -0.68, 0.04, 0.10), (0.36, -0.46, 0.27, -0.66, 0.04, 0.09)],
    [(0.32, -0.46, -0.02, -0.56, 0.09, 0.02), (0.26, -0.36, -0.06, -0.38, 0.08, 0.02)],
])  # fmt: skip
_GIRTHS = torch.tensor([0.80, 1.02, 1.28])


class Pose(NamedTuple):
    """Where a bird is in its picture; each field [N], in the picture's frame."""

    x: Tensor
    y: Tensor
    scale: Tensor
    """Length of the bird's unit in half sides of the picture."""
    angle: Tensor
    facing: Tensor
    """1 to the right, -1 to the left."""
    shear: Tensor


def draw_pose(num: int, generator: torch.Generator) -> Pose:
    scale = uniform(generator, num, 0.70, 1.0)
    return Pose(
        x=normal(generator, num, 0.10),
        y=normal(generator, num, 0.08, 0.04),
        scale=scale,
        angle=normal(generator, num, 0.20),
        facing=torch.randint(2, (num,), generator=generator) * 2.0 - 1,
        shear=normal(generator, num, 0.10),
    )


def bird_frame(pose: Pose, picture: Frame) -> Frame:
    """Return the bird's own coordinates at each pixel of the picture."""
    from_x = picture.x_NHW - pose.x[:, None, None]
    from_y = picture.y_NHW - pose.y[:, None, None]
    cos, sin = pose.angle.cos() / pose.scale, pose.angle.sin() / pose.scale
    across, up = cos * pose.facing, sin * pose.facing
    x_NHW = (from_x * across[:, None, None]).addcmul_(from_y, up[:, None, None])
    y_NHW = (from_x * -sin[:, None, None]).addcmul_(from_y, cos[:, None, None])
    x_NHW.addcmul_(y_NHW, pose.shear[:, None, None])
    return Frame(x_NHW, y_NHW, picture.px_per_unit_N * pose.scale)


def place(pose: Pose, x: float, y: float) -> tuple[Tensor, Tensor]:
    """Return where a point of the bird's frame lies in the picture's: the inverse of `bird_frame`."""
    unsheared = x - pose.shear * y
    cos, sin = pose.angle.cos() * pose.scale, pose.angle.sin() * pose.scale
    return (
        pose.x + pose.facing * cos * unsheared - sin * y,
        pose.y + pose.facing * sin * unsheared + cos * y,
    )


class Plumage(NamedTuple):
    """A batch of birds about to be painted."""

    attributes_NA: Tensor
    frame: Frame
    generator: torch.Generator

    def value(self, name: str) -> Tensor:
        return self.attributes_NA[:, INDEX[name]]

    def colour(self, name: str) -> Tensor:
        """RGB of a colour attribute, each bird's a little different, [N, C]."""
        values = ATTRIBUTES[INDEX[name]].values
        of_palette = torch.tensor([_NAMES.index(value) for value in values])[self.value(name)]
        return _RGB[of_palette] + self.jitter(3).T * 0.04

    def jitter(self, num: int) -> Tensor:
        return torch.randn(num, len(self.attributes_NA), generator=self.generator)

    def stroke(self, rows: Tensor) -> Capsule:
        """One row [N, 6] as a shape, its points moved and its radii scaled a little."""
        moved = self.jitter(6)
        points = [rows[:, column] + moved[column] * 0.018 for column in range(4)]
        radii = [rows[:, column] * (1 + moved[column] * 0.07) for column in (4, 5)]
        return Capsule(points[0], points[1], points[2], points[3], radii[0], radii[1])


def paint_bird(canvas: Canvas, bird: Plumage) -> None:
    """Paint one bird into each picture, back to front."""
    _paint_legs(canvas, bird)
    _paint_strokes(canvas, bird, _TAILS[bird.value("tail")], bird.colour("wing") * 0.85, TAIL)
    trunk_NHW, girth_N = _paint_trunk(canvas, bird)
    _paint_belly(canvas, bird, trunk_NHW, girth_N)
    _paint_head(canvas, bird)
    _paint_wing(canvas, bird)


def _paint_strokes(canvas: Canvas, bird: Plumage, rows_N26: Tensor, colours_NC: Tensor, label: int) -> None:
    for index in (0, 1):
        distance_NHW, _ = capsule_distance(bird.frame, bird.stroke(rows_N26[:, index]))
        paint(canvas, coverage(distance_NHW), rounded(distance_NHW, colours_NC), label)


def _row(bird: Plumage, *numbers: float) -> Tensor:
    return torch.tensor(numbers).expand(len(bird.attributes_NA), -1)


def _paint_legs(canvas: Canvas, bird: Plumage) -> None:
    colours_NC = bird.colour("legs")
    for x in (-0.06, 0.12):
        shape = bird.stroke(_row(bird, x, 0.24, x - 0.02, 0.60, 0.034, 0.034))
        paint(canvas, coverage(capsule_distance(bird.frame, shape)[0]), colours_NC, LEGS)


def _paint_trunk(canvas: Canvas, bird: Plumage) -> tuple[Tensor, Tensor]:
    """Paint the body; returns its distance and how round each bird is."""
    vary = bird.jitter(4)
    girth_N = _GIRTHS[bird.value("shape")] * (1 + vary[0] * 0.04)
    distance_NHW = ellipse_distance(
        bird.frame, vary[1] * 0.01, 0.06 + vary[2] * 0.01, 0.46 + vary[3] * 0.015, 0.27 * girth_N
    )
    paint(canvas, coverage(distance_NHW), rounded(distance_NHW, bird.colour("body")), BODY)
    return distance_NHW, girth_N


def _contrast(colours_NC: Tensor) -> Tensor:
    """Return a dark colour beside a light one and the reverse, so that every pattern can be seen."""
    luminance_N = colours_NC @ torch.tensor([0.3, 0.6, 0.1])
    light_N = (luminance_N < 0.40).float()[:, None]
    return light_N * torch.tensor([0.90, 0.86, 0.74]) + (1 - light_N) * torch.tensor([0.16, 0.13, 0.13])


def _paint_belly(canvas: Canvas, bird: Plumage, trunk_NHW: Tensor, girth_N: Tensor) -> None:
    vary = bird.jitter(3)
    frame = bird.frame
    own_NHW = ellipse_distance(
        frame, 0.14 + vary[0] * 0.015, 0.14 * girth_N + vary[1] * 0.01, 0.32 + vary[2] * 0.015, 0.21 * girth_N
    )
    inside_NHW = torch.maximum(own_NHW, trunk_NHW)
    colours_NC = bird.colour("belly")
    paint(canvas, coverage(inside_NHW), rounded(trunk_NHW, colours_NC), BELLY)
    pattern = bird.value("breast pattern")
    marks_NHW = torch.where((pattern == 1)[:, None, None], _spots(frame, 0.145), _bars(frame.y_NHW, 0.135))
    bib_NHW = (frame.y_NHW * -1).sub_(frame.x_NHW, alpha=-0.9).sub_(0.16)
    bib_NHW = (bib_NHW * frame.px_per_unit_N[:, None, None]).add_(0.5).clamp_(0, 1)
    marks_NHW = torch.where((pattern == 3)[:, None, None], bib_NHW, marks_NHW)
    marks_NHW.mul_((pattern > 0)[:, None, None]).mul_(coverage(inside_NHW)).mul_(0.9)
    tint(canvas, marks_NHW, _contrast(colours_NC))


def _spots(frame: Frame, spacing: float) -> Tensor:
    """Return a lattice of dots, 0..1."""
    x_NHW, y_NHW = (frame.x_NHW / spacing), (frame.y_NHW / spacing)
    x_NHW = x_NHW.add_(y_NHW.floor(), alpha=0.5)
    from_x, from_y = x_NHW.frac_().abs_().sub_(0.5), y_NHW.sub_(y_NHW.floor()).sub_(0.5)
    return from_x.square_().add_(from_y.square_()).sqrt_().mul_(-4).add_(1.9).clamp_(0, 1)


def _bars(along: Tensor, spacing: float) -> Tensor:
    """Return stripes across a direction, 0..1."""
    return (along * (6.2832 / spacing)).sin_().mul_(2.0).add_(0.4).clamp_(0, 1)


def _paint_head(canvas: Canvas, bird: Plumage) -> None:
    frame, head_NC = bird.frame, bird.colour("head")
    _paint_strokes(canvas, bird, _BEAKS[bird.value("beak")], bird.colour("beak colour"), BEAK)
    _paint_strokes(canvas, bird, _CRESTS[bird.value("crest")], head_NC, HEAD)
    skull_NHW, _ = capsule_distance(frame, bird.stroke(_row(bird, 0.30, -0.10, 0.42, -0.29, 0.20, 0.225)))
    inside_NHW = coverage(skull_NHW)
    paint(canvas, inside_NHW, rounded(skull_NHW, head_NC), HEAD)
    _paint_eye(canvas, bird, inside_NHW, _contrast(head_NC))


def _paint_eye(canvas: Canvas, bird: Plumage, head_NHW: Tensor, mark_NC: Tensor) -> None:
    frame, kind = bird.frame, bird.value("eye mark")
    stripe_NHW, _ = capsule_distance(frame, bird.stroke(_row(bird, 0.22, -0.24, 0.66, -0.31, 0.055, 0.055)))
    ring_NHW, _ = capsule_distance(frame, bird.stroke(_row(bird, 0.47, -0.31, 0.48, -0.31, 0.125, 0.125)))
    cap_NHW = (frame.y_NHW + 0.37).mul_(frame.px_per_unit_N[:, None, None])
    for value, distance_NHW in ((1, ring_NHW), (2, stripe_NHW), (3, cap_NHW)):
        covered_NHW = coverage(distance_NHW).mul_(head_NHW).mul_((kind == value)[:, None, None])
        tint(canvas, covered_NHW, mark_NC)
    pupil_NHW, _ = capsule_distance(frame, bird.stroke(_row(bird, 0.47, -0.31, 0.48, -0.31, 0.058, 0.058)))
    light_NC = torch.full_like(mark_NC, 0.97)
    glint_NHW, _ = capsule_distance(frame, bird.stroke(_row(bird, 0.49, -0.335, 0.49, -0.335, 0.022, 0.022)))
    tint(canvas, coverage(pupil_NHW), torch.full_like(mark_NC, 0.05))
    tint(canvas, coverage(glint_NHW), light_NC)


def _paint_wing(canvas: Canvas, bird: Plumage) -> None:
    frame, colours_NC = bird.frame, bird.colour("wing")
    distance_NHW, along_NHW = capsule_distance(frame, bird.stroke(_row(bird, 0.12, 0.02, -0.50, 0.10, 0.18, 0.05)))
    covered_NHW = coverage(distance_NHW)
    paint(canvas, covered_NHW, rounded(distance_NHW, colours_NC), WING)
    pattern = bird.value("wing pattern")
    bar_NHW = ((along_NHW - 0.42).abs_().mul_(-16)).add_(2.2).clamp_(0, 1)
    tip_NHW = (along_NHW - 0.62).mul_(16).clamp_(0, 1)
    marks_NHW = torch.where((pattern == 1)[:, None, None], bar_NHW, tip_NHW)
    marks_NHW = torch.where((pattern == 3)[:, None, None], _spots(frame, 0.17), marks_NHW)
    marks_NHW.mul_((pattern > 0)[:, None, None]).mul_(covered_NHW).mul_(0.9)
    tint(canvas, marks_NHW, _contrast(colours_NC))
