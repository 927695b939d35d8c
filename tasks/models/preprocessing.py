"""How a network wants to see an image. Part of what its weights mean: the wrong mean alone can cost 9 points.

Shape letters: N images, C channels, H W pixels, R values of a row of pixels, S T height and width of a view; 9 numbers
cut one.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from taskdistill.configs.data import Resize
from taskdistill.tasks.functional.torch_resize import torch_resized
from taskdistill.tasks.functional.views import Pixels, Size, View, clean_view, replay
from taskdistill.tasks.models.transfer import to_device


class Preprocessing(NamedTuple):
    """Plain values, stored with every artifact a network made or is."""

    side_px: int
    """Of a square; the height where there is a width."""
    mean: tuple[float, ...]
    """Of R, G, B in 0..1."""
    std: tuple[float, ...]
    interpolation: str
    crop_share: float
    """Side of the central crop as a share of the shorter side (crop_pct)."""
    crop_mode: str
    """center: that crop. squash: the whole image, its aspect ratio given up. whole: the whole image, padded."""
    width_px: int = 0
    """0: as wide as high."""

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.side_px, self.width_px or self.side_px

    @property
    def width_to_height(self) -> float:
        height, width = self.size
        return width / height

    def clean(self, height: int, width: int) -> View:
        """Return the view [9] that the network is judged by, of an image of this size."""
        return clean_view(height, width, self.crop_share, self.crop_mode, self.width_to_height)

    def cut(self, pixels_HW3: Pixels, view_9: View, resize: Resize = "pillow") -> Pixels:
        """Cut a view [S, T, 3] out of a uint8 RGB image, as the network is shown it.

        The clean view is always resized by Pillow: a network is judged by it, predicts and is exported with it.
        """
        if resize == "torch" and not np.array_equal(view_9, self.clean(*pixels_HW3.shape[:2])):
            return replay(pixels_HW3, view_9, self.size, self.interpolation, torch_resized)
        return replay(pixels_HW3, view_9, self.size, self.interpolation)

    def as_json(self) -> dict[str, Any]:
        """Return what is written down; of a square as it was before there were others, byte for byte."""
        return {name: value for name, value in self._asdict().items() if name != "width_px" or value}


def normalise(pixels_NHWC: Pixels, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Turn uint8 RGB pixels 0-255, channels last, into a normalised float32 tensor [N, C, H, W] on the device.

    The memory stays channels last, the faster order for convolutions on CPU and GPU alike.
    """
    num_images, height, width, channels = pixels_NHWC.shape
    # Whole rows of pixels at once, against mean and deviation of a row: three channels at a time, as they lie in
    # memory, take a CPU two to six times as long, the larger the batch.
    rows_NHR = to_device(pixels_NHWC, device).reshape(num_images, height, width * channels).float()  # a copy
    mean_R, std_R = (
        to_device(np.tile(np.asarray(of_channels, np.float32) * np.float32(255), width), device)
        for of_channels in (preprocessing.mean, preprocessing.std)
    )
    return rows_NHR.sub_(mean_R).div_(std_R).view(pixels_NHWC.shape).permute(0, 3, 1, 2)
