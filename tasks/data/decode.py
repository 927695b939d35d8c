"""From encoded bytes to upright RGB pixels, whatever a camera or a desktop program made of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.functional.views import Pixels

# The size is checked from the header against the ingest's own limits, before a pixel is decoded; Pillow's limit of
# its own would only turn some of our errors into warnings.
Image.MAX_IMAGE_PIXELS = None

Image.init()
FORMATS = sorted({"JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"} & Image.OPEN.keys())
"""What cameras and desktop programs write. Not all that Pillow reads: for EPS it would start Ghostscript."""

_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF")

BROKEN = (OSError, RuntimeError, SyntaxError, TypeError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""


class UnreadableImageError(ValueError):
    """Bytes that are no image we can use; the message is the reason."""


def header_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, upright or not, without decoding any: what decoding would cost."""
    with _opened(data) as picture:
        return picture.size


def decode_rgb(data: bytes) -> Pixels:
    """Return the pixels as uint8 [H, W, 3], RGB, upright.

    16-bit greys are scaled to 8, transparent pixels lie on white, CMYK and palettes are converted; the first frame of
    several.
    """
    with _opened(data) as picture:
        try:
            return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))
        except BROKEN as error:
            raise UnreadableImageError(f"damaged: {error}") from error


def mask_size(data: bytes) -> tuple[int, int]:
    """Decode a label map and return its height and width; UnreadableImageError where it is none: one 8-bit channel
    or a palette, losslessly stored, each value a class.
    """
    with _opened(data) as picture:
        if picture.format not in _LOSSLESS or picture.mode not in ("L", "P", "1"):
            raise UnreadableImageError(
                f"a mask must be PNG, TIFF, BMP or GIF with one 8-bit channel or a palette, found {picture.format} "
                f"{picture.mode}"
            )
        try:
            picture.load()
        except BROKEN as error:
            raise UnreadableImageError(f"damaged: {error}") from error
        return picture.height, picture.width


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise UnreadableImageError(f"not an image of a format we read ({', '.join(FORMATS)})") from error
    except BROKEN as error:
        raise UnreadableImageError(f"not an image: {error}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = np.asarray(picture, np.float64)
        scale = 257.0 if grey.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(np.round(grey / scale), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return picture.convert("RGB")
