"""Replayable views: how one augmented look at an image is drawn, written down, and done again.

A view is nine numbers (VIEW_FIELDS): an integer box in source pixels, a flip, three colour factors and their order.
They are drawn once from blake2b(seed/image id/view) and stored beside the teacher's outputs. A stored view does not
depend on any library's random numbers, and lets a teacher at 224 px and a student at 128 px look at the very same
crop.

A box may leave the image, where an image is scaled down or shown whole in another shape. A pixel of the view belongs to
the image where its centre lies in it, and is padding elsewhere: at whatever size the view is cut, and in masks alike.

All pixel work is on uint8, with Pillow's resampling (the one timm's weights were evaluated with) unless another is
asked for: integer boxes and uint8 colours give the same bytes whatever the number of threads.

Shape letters: H height, W width.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from taskdistill.configs.data import CLEAN_VIEW as CLEAN_VIEW
from taskdistill.configs.data import ViewSettings

VIEW_FIELDS = ("top", "left", "height", "width", "flip", "brightness", "contrast", "saturation", "order")
COLOUR_ORDERS = tuple(itertools.permutations((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)))
THUMBNAIL_SIDE = 8
GREY = (124, 116, 104)
"""What padding is filled with: the mean of ImageNet's RGB, close to 0 once a network has normalised it."""
UNKNOWN = 255
"""The value of a mask where nobody knows the class, outside the image among others."""
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

View = npt.NDArray[np.float32]
"""The nine VIEW_FIELDS as float32, which holds integers up to 2^24 exactly."""
Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels."""
NOT_PADDED = [0.0, 1.0, 0.0, 1.0]
"""The area in which a view that lies within its image shows it: top, bottom, left, right as shares of the view."""
Window = tuple[slice, slice]
"""Rows and columns of a view."""
PixelBox = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image, in its pixels."""
Resized = Callable[[Pixels, tuple[int, int], str, PixelBox], Image.Image]
"""What resizes a box of an image [H, W, 3] to a width and a height, by an interpolation."""


def clean_view(height: int, width: int, crop_share: float, mode: str, width_to_height: float = 1.0) -> View:
    """Return the view without augmentation that a model is evaluated on; the ratio is that of the network's pictures.

    Mode "center": the largest box of that ratio that fits in the image, and in its middle `crop_share` of it (crop_pct
    in timm). "squash": the whole image, its own ratio given up. "whole": the whole image in the smallest box of that
    ratio that holds it, so that what is missing is padded.
    """
    if mode == "squash":
        return np.asarray([0, 0, height, width, 0, 1, 1, 1, 0], np.float32)
    if mode == "whole":
        box_height = max(height, width / width_to_height)
    else:
        box_height = min(height, width / width_to_height) * crop_share
    rows, columns = max(1, round(box_height)), max(1, round(box_height * width_to_height))
    return np.asarray([(height - rows) // 2, (width - columns) // 2, rows, columns, 0, 1, 1, 1, 0], np.float32)


def draw_view(image_id: str, view: int, height: int, width: int, settings: ViewSettings) -> View:
    """Draw augmented view number `view` of an image: a box, a flip, colour factors."""
    digest = hashlib.blake2b(f"{settings.seed}/{image_id}/{view}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    box = {"resized": _resized_box, "scaled": _scaled_box}[settings.crop](height, width, settings, rng)
    flip = float(rng.random() < settings.flip)
    strengths = (settings.brightness, settings.contrast, settings.saturation)
    factors = [rng.uniform(1 - strength, 1 + strength) for strength in strengths]
    return np.asarray([*box, flip, *factors, rng.integers(len(COLOUR_ORDERS))], np.float32)


def _resized_box(height: int, width: int, settings: ViewSettings, rng: np.random.Generator) -> list[int]:
    """Draw top, left, height and width of a random share of the image in a random shape (RandomResizedCrop)."""
    area = height * width * rng.uniform(settings.min_area, 1)
    aspect = math.exp(rng.uniform(-math.log(settings.max_aspect), math.log(settings.max_aspect)))
    aspect *= settings.width_to_height
    # A box that does not fit is cut to the image rather than drawn again: one draw, whatever the image's shape.
    box_height = min(height, max(1, round(math.sqrt(area / aspect))))
    box_width = min(width, max(1, round(math.sqrt(area * aspect))))
    top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
    return [int(top), int(left), box_height, box_width]


def _scaled_box(height: int, width: int, settings: ViewSettings, rng: np.random.Generator) -> list[int]:
    """Draw the box that a crop of the network's shape cuts out of the image at a random scale, in source pixels.

    As segmentation is commonly trained (RandomResize and RandomCrop of mmsegmentation): the scale is uniform, and the
    crop lies within the image where that is the larger, else the image within the crop, here anywhere in it.
    """
    ratio = settings.width_to_height
    box_height = min(height, width / ratio) / rng.uniform(settings.min_scale, settings.max_scale)
    rows, columns = max(1, round(box_height)), max(1, round(box_height * ratio))
    # What is left over is negative along an axis on which the image is the smaller.
    spare = height - rows, width - columns
    top, left = (int(rng.integers(min(0, free), max(0, free) + 1)) for free in spare)
    return [top, left, rows, columns]


def pillow_resized(image_HW3: Pixels, shape: tuple[int, int], interpolation: str, box: PixelBox) -> Image.Image:
    """Resize a box of the image to this width and height.

    Pixels at the edge of what is shown reach half of themselves beyond the image, which Pillow refuses: its border is
    repeated for them.
    """
    in_height, in_width = image_HW3.shape[:2]
    before, above = max(0, math.ceil(-box[0])), max(0, math.ceil(-box[1]))
    after, below = max(0, math.ceil(box[2] - in_width)), max(0, math.ceil(box[3] - in_height))
    if before or above or after or below:
        image_HW3 = np.pad(image_HW3, ((above, below), (before, after), (0, 0)), mode="edge")
        box = (box[0] + before, box[1] + above, box[2] + before, box[3] + above)
    return Image.fromarray(image_HW3).resize(shape, RESAMPLING[interpolation], box)


def replay(image_HW3: Pixels, view: View, size: Size, interpolation: str, resized: Resized = pillow_resized) -> Pixels:
    """Cut the view out of an RGB uint8 image: crop and resize to [H, W, 3] of this size, flip, then colours in the
    stored order; GREY where it shows nothing of the image.
    """
    rows, columns = _window(view, image_HW3.shape[:2], size)
    top, left, height, width, flip = (int(value) for value in view[:5])
    box = (
        left + columns.start * width / size[1],
        top + rows.start * height / size[0],
        left + columns.stop * width / size[1],
        top + rows.stop * height / size[0],
    )
    shape = columns.stop - columns.start, rows.stop - rows.start
    picture = resized(image_HW3, shape, interpolation, box)
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Of the image alone: padding takes no colours, and has no part in the mean that contrast goes by.
    factors = dict(zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), view[5:8], strict=True))
    for enhancer in COLOUR_ORDERS[int(view[8])]:
        if factors[enhancer] != 1:
            picture = enhancer(picture).enhance(float(factors[enhancer]))
    return _padded(np.asarray(picture), shown_window(view, image_HW3.shape[:2], size), size, GREY)


def replay_mask(mask_HW: Pixels, view: View, size: Size) -> Pixels:
    """Cut the view out of a mask, [H, W] uint8 of this size: at each pixel the value that its centre falls on, as an
    image is cut but without colours; UNKNOWN where the view shows nothing of the image.
    """
    top, left, height, width, flip = (int(value) for value in view[:5])
    rows, columns = (
        # In whole numbers, as a centre may fall on the border of two pixels: then it is the latter's.
        np.clip(start + ((2 * np.arange(part.start, part.stop) + 1) * length) // (2 * pixels), 0, in_image - 1)
        for start, length, pixels, part, in_image in zip(
            (top, left), (height, width), size, _window(view, mask_HW.shape, size), mask_HW.shape, strict=True
        )
    )
    cut = mask_HW[rows[:, None], columns[None]]
    return _padded(cut[:, ::-1] if flip else cut, shown_window(view, mask_HW.shape, size), size, UNKNOWN)


def shown_window(view: View, image_size: Sequence[int], size: Size) -> Window:
    """Return which rows and columns of a view, cut at this size, show the image; all of them where nothing is padded.

    Those whose centre lies in it; where none does, as in an image a few pixels wide, the one in its middle.
    """
    rows, columns = _window(view, image_size, size)
    return rows, slice(size[1] - columns.stop, size[1] - columns.start) if view[4] else columns


def shown_area(view: View, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return top, bottom, left, right [4] of the image within a view of it, as shares of the view, after the flip.

    They are NOT_PADDED where the view does not leave the image.
    """
    top, left, rows, columns, flip = (int(value) for value in view[:5])
    above, below = max(0.0, -top / rows), min(1.0, (height - top) / rows)
    before, after = max(0.0, -left / columns), min(1.0, (width - left) / columns)
    return np.asarray([above, below, 1 - after if flip else before, 1 - before if flip else after], np.float32)


def _window(view: View, image_size: Sequence[int], size: Size) -> Window:
    """Return the rows and columns of a view that show the image, before the flip."""
    (top, left, height, width), (in_height, in_width) = (int(value) for value in view[:4]), image_size[:2]
    return _shown(top, height, in_height, size[0]), _shown(left, width, in_width, size[1])


def _shown(start: int, length: int, in_image: int, pixels: int) -> slice:
    """Return which of the pixels, that share `length` of an image's axis from `start` on, have their centre in it."""
    # Pixel p has its centre at start + (2p + 1) * length / (2 * pixels). In whole numbers: two networks, or an image
    # and its mask, must not differ by a rounding.
    first = max(0, -((2 * start * pixels + length) // (2 * length)))
    stop = min(pixels, -((length - 2 * (in_image - start) * pixels) // (2 * length)))
    if first < stop:
        return slice(first, stop)
    middle = max(start, 0) + min(start + length, in_image)
    first = min(pixels - 1, max(0, (middle - 2 * start) * pixels // (2 * length)))
    return slice(first, first + 1)


def _padded(shown: Pixels, window: Window, size: Size, value: int | tuple[int, ...]) -> Pixels:
    """Return what is shown in its place in a view of this size, and the value around it."""
    if shown.shape[:2] == size:
        return shown
    whole = np.full((*size, *shown.shape[2:]), value, np.uint8)
    whole[window] = shown
    return whole


def thumbnail(shown_HW3: Pixels) -> Pixels:
    """Return the 8x8 grey picture, [64] uint8, by which a cached view and a replayed one recognise each other.

    It is of what a view shows of its image (`shown_window`): padding is alike in views that are not.
    """
    grey = Image.fromarray(shown_HW3).convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return np.asarray(grey).reshape(-1)


def thumbnail_distance(a: Pixels, b: Pixels) -> float:
    """Return the mean absolute difference of two thumbnails in grey levels, 0-255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())
