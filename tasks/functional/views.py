"""Replayable views: how one augmented look at an image is drawn, written down, and done again.

A view is nine numbers (VIEW_FIELDS): an integer box in source pixels, a flip, three colour factors and their order.
They are drawn once from blake2b(seed/image id/view) and stored beside the teacher's outputs. A stored view does not
depend on any library's random numbers, and lets a teacher at 224 px and a student at 128 px look at the very same
crop.

All pixel work is on uint8 with Pillow's resampling (the one timm's weights were evaluated with): integer boxes and
uint8 colours give the same bytes whatever the number of threads.

Shape letters: H height, W width, S side of the square view.
"""

import hashlib
import itertools
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from configs.data import CLEAN_VIEW as CLEAN_VIEW
from configs.data import ViewSettings

VIEW_FIELDS = ("top", "left", "height", "width", "flip", "brightness", "contrast", "saturation", "order")
COLOUR_ORDERS = tuple(itertools.permutations((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)))
THUMBNAIL_SIDE = 8
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

View = npt.NDArray[np.float32]
"""The nine VIEW_FIELDS as float32, which holds integers up to 2^24 exactly."""
Pixels = npt.NDArray[np.uint8]


def clean_view(height: int, width: int, crop_share: float, mode: str) -> View:
    """Return the view without augmentation that a model is evaluated on.

    Mode "center": the central square of `crop_share` of the shorter side (crop_pct in timm). "squash": the whole
    image.
    """
    if mode == "squash":
        box = (0, 0, height, width)
    else:
        side = max(1, round(min(height, width) * crop_share))
        box = ((height - side) // 2, (width - side) // 2, side, side)
    return np.asarray([*box, 0, 1, 1, 1, 0], np.float32)


def draw_view(image_id: str, view: int, height: int, width: int, settings: ViewSettings) -> View:
    """Draw augmented view number `view` of an image: a random resized crop, a flip, colour factors."""
    digest = hashlib.blake2b(f"{settings.seed}/{image_id}/{view}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    area = height * width * rng.uniform(settings.min_area, 1)
    aspect = math.exp(rng.uniform(-math.log(settings.max_aspect), math.log(settings.max_aspect)))
    # A box that does not fit is cut to the image rather than drawn again: one draw, whatever the image's shape.
    box_height = min(height, max(1, round(math.sqrt(area / aspect))))
    box_width = min(width, max(1, round(math.sqrt(area * aspect))))
    top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
    flip = float(rng.random() < settings.flip)
    strengths = (settings.brightness, settings.contrast, settings.saturation)
    factors = [rng.uniform(1 - strength, 1 + strength) for strength in strengths]
    return np.asarray([top, left, box_height, box_width, flip, *factors, rng.integers(len(COLOUR_ORDERS))], np.float32)


def replay(image_HW3: Pixels, view: View, side: int, interpolation: str) -> Pixels:
    """Cut the view out of an RGB uint8 image: crop and resize to [S, S, 3], flip, then colours in the stored order."""
    top, left, height, width, flip = (int(value) for value in view[:5])
    box = (left, top, left + width, top + height)
    picture = Image.fromarray(image_HW3).resize((side, side), RESAMPLING[interpolation], box)
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factors = dict(zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), view[5:8], strict=True))
    for enhancer in COLOUR_ORDERS[int(view[8])]:
        if factors[enhancer] != 1:
            picture = enhancer(picture).enhance(float(factors[enhancer]))
    return np.asarray(picture)


def thumbnail(view_SS3: Pixels) -> Pixels:
    """Return the 8x8 grey picture, [64] uint8, by which a cached view and a replayed one recognise each other."""
    grey = Image.fromarray(view_SS3).convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return np.asarray(grey).reshape(-1)


def thumbnail_distance(a: Pixels, b: Pixels) -> float:
    """Return the mean absolute difference of two thumbnails in grey levels, 0-255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())
