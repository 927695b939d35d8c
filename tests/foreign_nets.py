"""Networks that a user would bring: functions that the source "function" finds by name."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.fakes import SHAPES


class ColourNet(nn.Module):
    """Knows the shapes by the colour they are drawn in: how much of each colour there is in an image of 0..1."""

    classes = tuple(SHAPES)

    def __init__(self) -> None:
        super().__init__()
        colours = torch.tensor([SHAPES[name] for name in self.classes]) / 255
        self.colours_K3 = nn.Parameter(colours.float(), requires_grad=False)

    def map(self, images_NCHW: Tensor) -> Tensor:
        distances = (images_NCHW[:, None] - self.colours_K3[None, :, :, None, None]).abs().sum(2)
        return 8 * (0.8 - distances).clamp(min=0)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return 4 * self.map(images_NCHW).mean(dim=(2, 3))


class ColourMap(ColourNet):
    """The same for each pixel."""

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.map(images_NCHW)


def build() -> nn.Module:
    return ColourNet()


def build_map() -> nn.Module:
    return ColourMap()


def build_function() -> Callable[[Tensor], Tensor]:
    """A plain function of uint8 images, without names."""
    network = ColourNet()
    return lambda images_NCHW: network(images_NCHW.float() / 255)


def build_from(weights: Path) -> nn.Module:
    network = ColourNet()
    network.load_state_dict(load_file(weights), strict=True)
    return network


def build_nothing() -> int:
    return 7


def build_parts() -> Callable[[Tensor], Tensor]:
    """A map of two classes, the first of which is everywhere."""
    return lambda images_NCHW: images_NCHW[:, :2].float() * 0 + torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
