"""Heads that see maps: logits [N, K, h, w] on the grid of the finest map that they are given.

They have no dropout, unlike their public versions: a probe's steps would then depend on random numbers too, and on few
images what a head lacks is images, not noise.

Every kind but "lraspp" has BatchNorm before or behind the first layer on each map: maps of a frozen network differ in
scale by orders of magnitude, and without it a linear probe on ADE20K is 11 mIoU worse.

Shape letters: N images, D width of a map, h w cells of a map, K classes, C width inside a head.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, relu

from taskdistill.tasks.functional.grids import finest, on_grid
from taskdistill.tasks.models.encoder import Block, ModelError

LOW_STRIDE = 8
"""Of the finer of the two maps that lraspp sees (arXiv 1905.02244, figure 10)."""
FCN_SHARE, MIN_FCN_WIDTH = 4, 32
MAX_LRASPP_WIDTH, MAX_SEGFORMER_WIDTH = 128, 256


class LinearHead(nn.Module):
    """BatchNorm and one linear layer on all maps, brought to one grid and concatenated (DINOv2, arXiv 2304.07193).

    Each map is multiplied on its own grid and the products are added on the finest one. Both interpolation and layer
    are linear, so that this is the same head, for K instead of D values a cell. BatchNorm has no scale and shift: the
    layer behind it has both.
    """

    def __init__(self, blocks: Sequence[Block], num_classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(block.width, affine=False) for block in blocks)
        self.layers = nn.ModuleList(
            nn.Conv2d(block.width, num_classes, 1, bias=number == 0) for number, block in enumerate(blocks)
        )
        for layer in self.layers:
            _start_small(layer)

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        found = zip(self.layers, self.norms, maps_NDhw, strict=True)
        return _added([layer(norm(map_NDhw)) for layer, norm, map_NDhw in found])


class FcnHead(nn.Module):
    """A small convolutional network on each map, whose scores are added on the finest grid (FCN-8s, arXiv 1411.4038).

    On one map it is torchvision's FCNHead: 3 x 3 convolution to a quarter of the width, BatchNorm, ReLU, 1 x 1.
    """

    def __init__(self, blocks: Sequence[Block], num_classes: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(_fcn(block.width, num_classes) for block in blocks)

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        return _added([score(map_NDhw) for score, map_NDhw in zip(self.scores, maps_NDhw, strict=True)])


class LrasppHead(nn.Module):
    """Lite R-ASPP (MobileNetV3, arXiv 1905.02244, section 6.4), as torchvision has it: the last map, each channel
    scaled by what the whole image says, and scores of a finer map added.

    The finer one is the first of stride 8 or more, the others are not looked at. ModelError where there is but one map.
    """

    def __init__(self, blocks: Sequence[Block], num_classes: int) -> None:
        super().__init__()
        low = [number for number, block in enumerate(blocks[:-1]) if (block.stride or 0) >= LOW_STRIDE]
        if not low:
            raise ModelError(
                "the head 'lraspp' sees the last map and a finer one, and is given "
                f"{[block.name for block in blocks]}: set the probe's inputs to ['last4'], or its head to another one"
            )
        self._low = low[0]
        width, high_width = min(MAX_LRASPP_WIDTH, blocks[-1].width), blocks[-1].width
        self.project = _convolution(high_width, width)
        self.scale = nn.Conv2d(high_width, width, 1, bias=False)
        self.low_score = nn.Conv2d(blocks[self._low].width, num_classes, 1)
        self.high_score = nn.Conv2d(width, num_classes, 1)

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        low_NDhw, high_NDhw = maps_NDhw[self._low], maps_NDhw[-1]
        scale_NC11 = self.scale(adaptive_avg_pool2d(high_NDhw, 1)).sigmoid()
        # torchvision interpolates before the scores; after them it is the same for K instead of C values a cell.
        high_NKhw = self.high_score(self.project(high_NDhw) * scale_NC11)
        return _added([self.low_score(low_NDhw), high_NKhw])


class SegformerHead(nn.Module):
    """The all-MLP decoder of SegFormer (arXiv 2105.15203, section 3.2): a linear layer on each map, all brought to the
    finest grid, concatenated, a second layer, a third to the classes.

    As mmsegmentation has it, with BatchNorm and ReLU behind the first layer, which the paper's text does not have.
    """

    def __init__(self, blocks: Sequence[Block], num_classes: int) -> None:
        super().__init__()
        width = min(MAX_SEGFORMER_WIDTH, max(block.width for block in blocks))
        self.maps = nn.ModuleList(_convolution(block.width, width) for block in blocks)
        self.fusion = nn.Conv2d(width * len(blocks), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.score = nn.Conv2d(width, num_classes, 1)
        _start_small(self.score)

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        # The second layer is linear too: each of its parts is applied on the grid of its own map.
        parts = zip(self.maps, maps_NDhw, self.fusion.weight.chunk(len(self.maps), dim=1), strict=True)
        fused_NChw = _added([conv2d(layer(map_NDhw), weight) for layer, map_NDhw, weight in parts])
        scores_NKhw: Tensor = self.score(relu(self.norm(fused_NChw)))
        return scores_NKhw


HEADS: dict[str, Callable[[Sequence[Block], int], nn.Module]] = {
    "linear": LinearHead,
    "fcn": FcnHead,
    "lraspp": LrasppHead,
    "segformer-mlp": SegformerHead,
}


def _fcn(in_width: int, num_classes: int) -> nn.Sequential:
    width = max(MIN_FCN_WIDTH, in_width // FCN_SHARE)
    score = nn.Conv2d(width, num_classes, 1)
    _start_small(score)
    return nn.Sequential(*_convolution(in_width, width, kernel_size=3), score)


def _convolution(in_width: int, width: int, *, kernel_size: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_width, width, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def _start_small(layer: nn.Module) -> None:
    """Weights N(0, 0.01), bias 0: at first all classes are as likely."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)


def _added(maps_NDhw: Sequence[Tensor]) -> Tensor:
    """Add maps on the finest of their grids."""
    grid = finest(maps_NDhw)
    return functools.reduce(torch.add, [on_grid(map_NDhw, grid).float() for map_NDhw in maps_NDhw])
