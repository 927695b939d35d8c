"""What a network says of the places of images as colours: three principal components as red, green and blue.

Shape letters: N images, M tokens of all, D width of a token, h w cells of a network's grid, G H cells of another's; 3
components or colours.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.linalg import orthogonal_procrustes

from taskdistill.tasks.functional.components import Components

MAX_FITTED = 4096
"""Tokens that components are fitted to: more, evenly drawn, give the same picture and take seconds."""
SHOWN_PERCENTILES = (1, 99)
"""Of a colour, from none of it to all of it: a few tokens lie far from all others, and would leave the rest grey."""

Scores = npt.NDArray[np.float64]


def patch_components(tokens_NDhw: npt.ArrayLike) -> Scores:
    """Return where each token lies along the three directions in which those of all images together differ most,
    [N, h, w, 3], each direction scaled to unit variance; 0 along a direction that they do not have.
    """
    tokens_NhwD = np.moveaxis(np.asarray(tokens_NDhw), 1, -1)
    tokens_MD = tokens_NhwD.reshape(-1, tokens_NhwD.shape[-1])
    fitted = np.unique(np.linspace(0, len(tokens_MD) - 1, min(MAX_FITTED, len(tokens_MD))).astype(int))
    components = Components.of(tokens_MD[fitted], 3)
    # Image by image: in double precision the tokens of all may be half a gigabyte.
    places = np.concatenate([components.project(one_hwD.reshape(-1, one_hwD.shape[-1])) for one_hwD in tokens_NhwD])
    spread = places.std(axis=0)
    # Along a direction without extent there is only noise of rounding.
    is_there = spread > 1e-9 * max(float(spread.max(initial=0)), 1e-30)
    places = np.where(is_there, places / np.where(is_there, spread, 1), 0)
    return np.pad(places, ((0, 0), (0, 3 - places.shape[1]))).reshape(*tokens_NhwD.shape[:3], 3)


def turned_to(scores_Nhw3: Scores, others_NGH3: Scores) -> Scores:
    """Turn and mirror components so that they lie as near as they can to those of another network for the same images
    (orthogonal Procrustes), whose grid may have other cells.
    """
    height, width = scores_Nhw3.shape[1:3]
    others_Nhw3 = np.stack([_resized(others_GH3, height, width) for others_GH3 in others_NGH3])
    turn_33, _ = orthogonal_procrustes(scores_Nhw3.reshape(-1, 3), others_Nhw3.reshape(-1, 3))
    return np.asarray(scores_Nhw3 @ turn_33)


def _resized(scores_GH3: Scores, height: int, width: int) -> Scores:
    channels = [Image.fromarray(channel_GH.astype(np.float32)) for channel_GH in np.moveaxis(scores_GH3, -1, 0)]
    shape = (width, height)
    return np.stack([np.asarray(one.resize(shape, Image.Resampling.BILINEAR), np.float64) for one in channels], -1)


def colours(scores_Nhw3: Scores) -> npt.NDArray[np.uint8]:
    """Return red, green and blue, 0-255, [N, h, w, 3], of the same range in each; grey where all scores are equal."""
    low_3, high_3 = np.percentile(scores_Nhw3.reshape(-1, 3), SHOWN_PERCENTILES, axis=0)
    extent_3 = np.where(high_3 > low_3, high_3 - low_3, 1)
    shares_Nhw3 = np.where(high_3 > low_3, (scores_Nhw3 - low_3) / extent_3, 0.5)
    return (shares_Nhw3.clip(0, 1) * 255).round().astype(np.uint8)
