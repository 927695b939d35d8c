"""JPEG pictures in folders of splits and classes: soft shapes with grain, that weigh and decode like photographs."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cups", "spoons")


def jpeg(number: int, side_px: int) -> bytes:
    """Return picture `number`, the same bytes each time."""
    rng = np.random.default_rng(number)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(
        (side_px, side_px), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-8, 9, (side_px, side_px, 3), np.int16)
    pixels = np.clip(np.asarray(shapes, np.int16) + grain, 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def write_class_folders(folder: Path, *, count: int, side_px: int) -> Path:
    """Write `count` pictures as split/class/number.jpg, a tenth each for val and test; returns the folder."""
    for number in range(count):
        split = {8: "val", 9: "test"}.get(number % 10, "train")
        path = folder / split / CLASSES[number // 10 % 2] / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, side_px))
    return folder
