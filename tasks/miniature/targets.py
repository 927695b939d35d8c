"""What pretraining asks of a network, read off a picture, its mask and its bird's attributes.

Dense targets are what makes these networks learn: with attributes alone they stay at chance for as long as this
pretraining takes. A patch token therefore answers for cells of 2 x 2 pixels inside it: which part each shows, and in
which colour of the palette it is painted.

Shape letters: N pictures, A attributes, P parts, C colours, L patches, S cells in a patch, V values of all
attributes, K values of one, H W pixels, h w
cells of a coarse picture, D numbers.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from taskdistill.tasks.miniature.attributes import ATTRIBUTES, COLOURS, INDEX, NUM_VALUES, PALETTE
from taskdistill.tasks.miniature.networks import PATCH_PX
from taskdistill.tasks.miniature.world import PARTS, Pictures

CELL_PX = 2
CELLS = (PATCH_PX // CELL_PX) ** 2
NO_COLOUR = len(COLOURS)
"""The colour of what is no part of the bird."""

COARSE_CELLS = 4
_PAINTED_IN = {"body": "body", "belly": "belly", "wing": "wing", "head": "head", "beak": "beak colour",
               "tail": "wing", "legs": "legs"}  # fmt: skip
"""Part -> the attribute that gives its colour."""

_SEEN_IN = {
    "body": "body",
    "belly": "belly",
    "wing": "wing",
    "head": "head",
    "beak": "beak",
    "beak colour": "beak",
    "tail": "tail",
    "crest": "head",
    "wing pattern": "wing",
    "breast pattern": "belly",
    "shape": "body",
    "eye mark": "head",
    "legs": "legs",
}
"""Attribute -> the part that shows it."""


def attribute_loss(logits_NV: Tensor, attributes_NA: Tensor) -> Tensor:
    """Cross-entropy, the mean over the attributes; logits of all values of all attributes stand side by side."""
    losses = [
        cross_entropy(logits_NK, attributes_NA[:, column])
        for column, logits_NK in enumerate(torch.split(logits_NV, list(NUM_VALUES), dim=1))
    ]
    return torch.stack(losses).mean()


def attribute_hits(logits_NV: Tensor, attributes_NA: Tensor) -> Tensor:
    """Return which attributes are named rightly, bool [N, A]."""
    named = [logits_NK.argmax(dim=1) for logits_NK in torch.split(logits_NV, list(NUM_VALUES), dim=1)]
    return torch.stack(named, dim=1) == attributes_NA


def part_cells(masks_NHW: Tensor) -> Tensor:
    """Return the part at each cell, int64 [N, L, S]: of each 2 x 2 pixels one, the same one everywhere."""
    return _by_patch(masks_NHW[:, 1::CELL_PX, 1::CELL_PX].long())


def colour_cells(pictures: Pictures) -> Tensor:
    """Return the palette colour each cell is painted in, patterns and light aside, int64 [N, L, S]."""
    of_part_NP = torch.full((len(pictures.attributes_NA), len(PARTS)), NO_COLOUR)
    for part, name in _PAINTED_IN.items():
        values = ATTRIBUTES[INDEX[name]].values
        palette = torch.tensor([list(PALETTE).index(value) for value in values])
        of_part_NP[:, PARTS.index(part)] = palette[pictures.attributes_NA[:, INDEX[name]]]
    parts_NLS = part_cells(pictures.masks_NHW)
    return of_part_NP.gather(1, parts_NLS.flatten(1)).view_as(parts_NLS)


def _by_patch(cells_Nhw: Tensor) -> Tensor:
    num, side, _ = cells_Nhw.shape
    inner = PATCH_PX // CELL_PX
    outer = side // inner
    cells = cells_Nhw.view(num, outer, inner, outer, inner).transpose(2, 3)
    return cells.reshape(num, outer * outer, inner * inner)


def cell_loss(logits_NLD: Tensor, cells_NLS: Tensor) -> Tensor:
    """Cross-entropy of every cell of every patch."""
    return cross_entropy(logits_NLD.reshape(cells_NLS.numel(), -1), cells_NLS.flatten())


def detail_loss(logits_NLV: Tensor, parts_NLS: Tensor, attributes_NA: Tensor) -> Tensor:
    """Cross-entropy of each attribute at the patches that show the part it is seen in, the mean over the attributes."""
    losses = []
    for column, logits_NLK in enumerate(torch.split(logits_NLV, list(NUM_VALUES), dim=2)):
        shows_NL = (parts_NLS == PARTS.index(_SEEN_IN[ATTRIBUTES[column].name])).any(dim=2)
        wanted_NL = attributes_NA[:, column, None].expand_as(shows_NL)
        # A sum over at least one, since a part may be hidden in all pictures of a small batch.
        summed = cross_entropy(logits_NLK[shows_NL], wanted_NL[shows_NL], reduction="sum")
        losses.append(summed / shows_NL.sum().clamp_min(1))
    return torch.stack(losses).mean()


def part_places(masks_NHW: Tensor) -> Tensor:
    """Return for each part of the bird its centre (x, y in -1..1) and the root of its share of the picture, [N, D].

    A part that cannot be seen lies in the middle and has no size.
    """
    side = masks_NHW.shape[1]
    ticks = (torch.arange(side) + 0.5) / side * 2 - 1
    places = []
    for part in range(PARTS.index("body"), len(PARTS)):
        is_part_NHW = (masks_NHW == part).float()
        pixels_N = is_part_NHW.sum(dim=(1, 2)).clamp_min(1)
        places += [
            is_part_NHW.sum(dim=1).mv(ticks) / pixels_N,
            is_part_NHW.sum(dim=2).mv(ticks) / pixels_N,
            is_part_NHW.mean(dim=(1, 2)).sqrt(),
        ]
    return torch.stack(places, dim=1)


def coarse_picture(images_NCHW: Tensor) -> Tensor:
    """Return the picture in 4 x 4 cells, [N, D]: where it is light and dark, and in which colours."""
    return adaptive_avg_pool2d(images_NCHW, COARSE_CELLS).flatten(1)
