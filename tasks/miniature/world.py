"""The world: attributes in, pictures with pixel-exact part masks out; everything else about a picture is drawn at
random from an explicit generator.

The same generator state gives the same pictures, bit for bit, at one number of torch threads.

Shape letters: N pictures, A attributes, C = 3 colour channels, H W pixels, P parts.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from taskdistill.tasks.miniature.birds import Plumage, bird_frame, draw_pose, paint_bird, place
from taskdistill.tasks.miniature.drawing import picture_frame
from taskdistill.tasks.miniature.scenery import (
    NUM_LEAVES_BEFORE,
    NUM_LEAVES_BEHIND,
    landscape,
    light,
    paint_branch,
    paint_leaves,
)

PARTS = ("background", "foliage", "branch", "body", "belly", "wing", "head", "beak", "tail", "legs")
"""Name of each label of a mask."""

SIDE_PX = 64

_CHUNK = 32
"""Pictures painted at a time: enough to pay for the calls, few enough for their planes to stay in the cache. The
generator is used chunk by chunk, so another number gives other pictures."""


class Pictures(NamedTuple):
    """A batch of pictures and all that is known about them."""

    images_NHWC: Tensor
    """uint8 0-255, RGB."""
    masks_NHW: Tensor
    """uint8, an index into PARTS for each pixel."""
    attributes_NA: Tensor
    """int64, see tasks.miniature.attributes."""


def draw(attributes_NA: Tensor, generator: torch.Generator) -> Pictures:
    """Draw one picture of each bird, with its own pose, background, leaves and light."""
    chunks = [_draw_chunk(chunk_NA, generator) for chunk_NA in torch.split(attributes_NA, _CHUNK)]
    return Pictures(
        torch.cat([images for images, _ in chunks]), torch.cat([masks for _, masks in chunks]), attributes_NA
    )


def _draw_chunk(attributes_NA: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    num = len(attributes_NA)
    picture = picture_frame(num, SIDE_PX)
    pose = draw_pose(num, generator)
    canvas = landscape(num, SIDE_PX, generator)
    paint_leaves(canvas, picture, NUM_LEAVES_BEHIND, generator)
    paint_branch(canvas, picture, *place(pose, 0.02, 0.58), generator)
    paint_bird(canvas, Plumage(attributes_NA, bird_frame(pose, picture), generator))
    paint_leaves(canvas, picture, NUM_LEAVES_BEFORE, generator)
    return light(canvas.images_NCHW, generator), canvas.labels_NHW
