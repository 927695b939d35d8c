"""From encoded bytes to upright RGB pixels, whatever a camera or a desktop program made of them.

Colour profiles are not applied: pixels are taken as sRGB. Decoding is done within a stated memory (decode_memory);
beside the decoded picture and the array that is returned there are only strips.

Shape letters: H W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from taskdistill.configs.errors import UserError
from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data import turbo_jpeg
from taskdistill.tasks.data.decode_memory import DecodeMemory, bytes_to_decode
from taskdistill.tasks.data.deep import is_deep, load_deep, strip, strips_of
from taskdistill.tasks.data.levels import to_8_bits
from taskdistill.tasks.data.opening import BROKEN, UnreadableImageError, open_picture
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.memory import OutOfMemoryError

_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF")


class NoLevelsError(UserError):
    """An image of more than 8 bits, and which of its values are black and white is not known."""


def header_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, upright or not, without decoding any: what decoding would cost.

    Raises UnreadableImageError where the bytes are no image.
    """
    with open_picture(data) as picture:
        return picture.size


def decode_rgb(data: bytes, levels: Levels | None = None, *, memory: DecodeMemory | None = None) -> Pixels:
    """Return the pixels as uint8 [H, W, 3], RGB, upright.

    Transparent pixels lie on white, CMYK and palettes are converted; the first frame of several. `levels`, those of the
    image's set, scale what has more than 8 bits a channel. Raises UnreadableImageError where the bytes are no image,
    NoLevelsError where it needs levels, DecodeMemoryError where decoding it takes more than there is of `memory`, and
    OutOfMemoryError where the machine has less than that.
    """
    with open_picture(data) as picture:
        if not is_deep(picture):
            with decoding(picture, memory):
                return rgb_of(picture, data)
        if levels is None:
            raise NoLevelsError(
                "the image has more than 8 bits a channel, and which values are black and white is known for a whole "
                "image-set only: pass its `levels`"
            )
        with decoding(picture, memory):
            return rgb_of_deep(picture, data, levels)


def needs_levels(data: bytes) -> bool:
    """Whether the image has more than 8 bits a channel, by its header; UnreadableImageError where it is none."""
    with open_picture(data) as picture:
        return is_deep(picture)


@contextmanager
def decoding(picture: ImageFile, memory: DecodeMemory | None) -> Iterator[None]:
    """Wait for the memory that decoding takes; inside, damage is an UnreadableImageError, and memory that the machine
    does not have an OutOfMemoryError. Raises DecodeMemoryError where the picture needs more than all of `memory`.
    """
    with memory.room_for(bytes_to_decode(picture), picture) if memory else nullcontext():
        try:
            yield
        except UnreadableImageError:
            raise
        except BROKEN as error:
            raise UnreadableImageError(f"damaged: {error}") from error
        except MemoryError as error:
            raise OutOfMemoryError(
                f"there is not enough memory to decode an image of {picture.width}x{picture.height} pixels: set a "
                "smaller runtime.decode_memory_mb, or a smaller data.max_megapixels, which sets such images aside"
            ) from error


def rgb_of(picture: ImageFile, data: bytes) -> Pixels:
    """Decode a picture of 8 bits or less a channel, opened from these bytes; errors are Pillow's."""
    if (pixels_HW3 := turbo_jpeg.decoded(picture, data)) is not None:
        return pixels_HW3
    ImageOps.exif_transpose(picture, in_place=True)
    return _in_strips(picture.size, lambda rows: _to_rgb(strip(picture, rows)))


def rgb_of_deep(picture: ImageFile, data: bytes, levels: Levels) -> Pixels:
    """Decode an opened picture of more than 8 bits a channel; errors are Pillow's, or UnreadableImageError."""
    deep = load_deep(picture, data)
    return _in_strips(deep.size, lambda rows: _to_rgb(to_8_bits(deep, deep.values(rows), levels)))


def check_mask(data: bytes, size: tuple[int, int], *, memory: DecodeMemory | None = None) -> None:
    """Decode a label map: one 8-bit channel or a palette, losslessly stored, each value a class.

    Raises UnreadableImageError where it is none, or not of this width and height; DecodeMemoryError and
    OutOfMemoryError as decode_rgb does.
    """
    with open_picture(data) as picture:
        if picture.format not in _LOSSLESS or picture.mode not in ("L", "P", "1"):
            raise UnreadableImageError(
                f"a mask must be PNG, TIFF, BMP or GIF with one 8-bit channel or a palette, found {picture.format} "
                f"{picture.mode}"
            )
        if picture.size != size:
            raise UnreadableImageError(
                f"it is {picture.width}x{picture.height} pixels, the upright image {size[0]}x{size[1]}: they must be "
                "equal"
            )
        with decoding(picture, memory):
            picture.load()


def _in_strips(size: tuple[int, int], make: Callable[[slice], Image.Image]) -> Pixels:
    """Return the pixels of a picture that is made some rows at a time."""
    width, height = size
    every = list(strips_of(width, height))
    if len(every) == 1:
        return np.asarray(make(every[0]))
    pixels_HW3 = np.empty((height, width, 3), np.uint8)
    for rows in every:
        pixels_HW3[rows] = np.asarray(make(rows))
    return pixels_HW3


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return picture.convert("RGB")
