"""What a network of an exported folder is shown of a picture: the same bytes as when it was trained and scored.

Written by 'taskdistill export'; it needs torch, numpy and Pillow alone.

Shape letters: C channels, H W pixels of the picture, S T height and width of the view.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from taskdistill.tasks.functional.views import clean_view, replay


def shown(picture: Image.Image, config: Path) -> Tensor:
    """Return what is shown of a picture, normalised float32 [1, C, S, T]; `config` is the folder's config.json."""
    see = json.loads(config.read_text(encoding="utf-8"))["taskdistill"]
    pixels_HW3 = np.asarray(picture.convert("RGB"))
    size = see["side_px"], see.get("width_px") or see["side_px"]
    height, width = pixels_HW3.shape[:2]
    view = clean_view(height, width, see["crop_share"], see["crop_mode"], size[1] / size[0])
    seen_ST3 = np.array(replay(pixels_HW3, view, size, see["interpolation"]))
    mean, std = (torch.tensor(see[name]).view(1, 3, 1, 1) * 255 for name in ("mean", "std"))
    return (torch.from_numpy(seen_ST3).permute(2, 0, 1)[None].float() - mean) / std
