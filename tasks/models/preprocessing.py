"""How a network wants to see an image. Part of what its weights mean: the wrong mean alone can cost 9 points.

Shape letters: N images, C channels, H W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tasks.functional.views import Pixels


class Preprocessing(NamedTuple):
    """Plain values, stored with every artifact a network made or is."""

    side_px: int
    mean: tuple[float, ...]
    """Of R, G, B in 0..1."""
    std: tuple[float, ...]
    interpolation: str
    crop_share: float
    """Side of the central crop as a share of the shorter side (crop_pct)."""
    crop_mode: str
    """center: that crop. squash: the whole image, its aspect ratio given up."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees, in pixels."""
        return self.side_px, self.side_px


def normalise(pixels_NHWC: Pixels, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Turn uint8 RGB pixels 0-255, channels last, into a normalised float32 tensor [N, C, H, W] on the device.

    The memory stays channels last, the faster order for convolutions on CPU and GPU alike.
    """
    images_NCHW = torch.from_numpy(pixels_NHWC).to(device).permute(0, 3, 1, 2).float()
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1) * 255
    return (images_NCHW - mean) / std
