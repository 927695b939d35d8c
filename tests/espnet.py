"""ESPNet for CamVid (Mehta et al. 2018, arXiv 1803.06815), written from the paper for weights that its authors
published: a foreign teacher for tests, as a function that the source "function" finds.

An ESP block reduces its input by a 1x1 convolution, filters that by 3x3 convolutions of dilation 1 to 16 side by side,
and joins them by sums of growing receptive field (hierarchical feature fusion, section 3.2). The network (figure 4d)
halves the image three times, shows the halved image again at each level, and comes back in three steps of transposed
convolutions. Names are those of the tensors in the file.

Shape letters: N images, C channels, H W pixels.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist", "void",
)  # fmt: skip
MEAN, STD = (110.51, 108.64, 105.37), (78.21, 79.15, 78.05)
"""Of blue, green and red over the 45 training images, 0 to 255."""
DILATIONS = (1, 2, 4, 8, 16)


def convolution(width: int, out: int, side: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = (side - 1) // 2 * dilation
    return nn.Conv2d(width, out, side, stride, padding, dilation=dilation, bias=False)


class Convolution(nn.Module):
    """A convolution alone; in the file it has a name of its own."""

    def __init__(self, width: int, out: int, side: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = convolution(width, out, side, stride, dilation)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.conv(maps_NCHW)


class NormAndAct(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(width, eps=1e-3), nn.PReLU(width)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.act(self.bn(maps_NCHW))


class ConvNormAct(NormAndAct):
    def __init__(self, width: int, out: int, side: int, stride: int = 1) -> None:
        super().__init__(out)
        self.conv = convolution(width, out, side, stride)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return super().forward(self.conv(maps_NCHW))


class Pyramid(nn.Module):
    """Reduce, filter with five dilations, fuse; `c1` reduces, `d1` to `d16` filter."""

    def __init__(self, width: int, out: int, side: int, stride: int) -> None:
        super().__init__()
        branch = out // len(DILATIONS)
        self.c1 = Convolution(width, branch, side, stride)
        for dilation in DILATIONS:
            of_first = out - branch * (len(DILATIONS) - 1)
            self.add_module(f"d{dilation}", Convolution(branch, of_first if dilation == 1 else branch, 3, 1, dilation))

    def fused(self, maps_NCHW: Tensor) -> Tensor:
        reduced = self.c1(maps_NCHW)
        first, *others = [self.get_submodule(f"d{dilation}")(reduced) for dilation in DILATIONS]
        sums = torch.cumsum(torch.stack(others), dim=0)
        return torch.cat([first, *sums], dim=1)


class EspBlock(Pyramid):
    def __init__(self, width: int, out: int, *, is_residual: bool = True) -> None:
        super().__init__(width, out, 1, 1)
        self.bn, self.is_residual = NormAndAct(out), is_residual

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        fused = self.fused(maps_NCHW)
        return self.bn(maps_NCHW + fused if self.is_residual else fused)


class EspDown(Pyramid):
    """The same at half the size."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out, 3, 2)
        self.bn, self.act = nn.BatchNorm2d(out, eps=1e-3), nn.PReLU(out)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.act(self.bn(self.fused(maps_NCHW)))


class Encoder(nn.Module):
    def __init__(self, num_classes: int, depth2: int, depth3: int) -> None:
        super().__init__()
        self.level1, self.b1 = ConvNormAct(3, 16, 3, 2), NormAndAct(19)
        self.level2_0, self.b2 = EspDown(19, 64), NormAndAct(131)
        self.level2 = nn.ModuleList(EspBlock(64, 64) for _ in range(depth2))
        self.level3_0, self.b3 = EspDown(131, 128), NormAndAct(256)
        self.level3 = nn.ModuleList(EspBlock(128, 128) for _ in range(depth3))
        self.classifier = Convolution(256, num_classes, 1)

    def forward(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return maps at a half, a quarter and an eighth of the image, the last one of classes."""
        half = avg_pool2d(images_NCHW, 3, 2, 1)
        first = self.b1(torch.cat([self.level1(images_NCHW), half], dim=1))
        begin = second = self.level2_0(first)
        for block in self.level2:
            second = block(second)
        second = self.b2(torch.cat([second, begin, avg_pool2d(half, 3, 2, 1)], dim=1))
        begin = third = self.level3_0(second)
        for block in self.level3:
            third = block(third)
        return first, second, self.classifier(self.b3(torch.cat([begin, third], dim=1)))


def upsampling(width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)


class EspNet(nn.Module):
    """Logits [N, 12, H, W] of uint8 images, channels in the order blue, green, red; H and W multiples of 8."""

    classes = CLASSES

    def __init__(self, depth2: int = 2, depth3: int = 8) -> None:
        super().__init__()
        width = len(CLASSES)
        self.encoder = Encoder(width, depth2, depth3)
        self.br, self.up_l3 = nn.BatchNorm2d(width, eps=1e-3), nn.Sequential(upsampling(width))
        self.level3_C = Convolution(131, width, 1)
        self.combine_l2_l3 = nn.Sequential(NormAndAct(2 * width), EspBlock(2 * width, width, is_residual=False))
        self.up_l2 = nn.Sequential(upsampling(width), NormAndAct(width))
        self.conv = ConvNormAct(width + 19, width, 3)
        self.classifier = upsampling(width)

    def forward(self, pixels_NCHW: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values, device=pixels_NCHW.device, dtype=torch.float32).view(1, 3, 1, 1)
            for values in (MEAN, STD)
        )
        # Divided by 255 after it was normalised, as it was when the weights were trained.
        first, second, third = self.encoder((pixels_NCHW.float() - mean) / std / 255)
        up = self.up_l3(self.br(third))
        up = self.up_l2(self.combine_l2_l3(torch.cat([self.level3_C(second), up], dim=1)))
        return self.classifier(self.conv(torch.cat([up, first], dim=1)))


def build(weights: Path) -> EspNet:
    """Return the network with these weights, every tensor of which must fit."""
    network = EspNet()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    return network.eval()
