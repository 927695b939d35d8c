"""Pixels as a network is given them."""

import numpy as np
import pytest
import torch

from taskdistill.tasks.models.preprocessing import Preprocessing, normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 5, 9), (3, 1, 1), (0, 8, 8)])
def test_each_channel_is_normalised_by_its_own_mean_and_deviation_and_stays_last_in_memory(
    shape: tuple[int, int, int],
) -> None:
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    network = Preprocessing(shape[1], MEAN, STD, "bicubic", 0.9, "center", width_px=shape[2])
    images_NCHW = normalise(pixels_NHWC, network, torch.device("cpu"))
    assert images_NCHW.dtype == torch.float32
    assert images_NCHW.permute(0, 2, 3, 1).is_contiguous()
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        # In single precision throughout: the bits that a network was trained on are those that it is shown later.
        shifted = pixels_NHWC[..., channel].astype(np.float32) - np.float32(mean) * np.float32(255)
        expected = shifted / (np.float32(std) * np.float32(255))
        np.testing.assert_array_equal(images_NCHW[:, channel].numpy(), expected)
