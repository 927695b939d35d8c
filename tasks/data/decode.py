"""From encoded bytes to upright RGB pixels, whatever a camera or a desktop program made of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from tasks.functional.views import Pixels

# The size is checked from the header against the ingest's own limits, before a pixel is decoded; Pillow's limit of
# its own
# would only turn some of our errors into warnings.
Image.MAX_IMAGE_PIXELS = None

BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""

_TURNED = {5, 6, 7, 8}
_EXIF_ORIENTATION = 0x0112


class UnreadableImageError(ValueError):
    """Bytes that are no image we can use; the message is the reason."""


def upright_size(data: bytes) -> tuple[int, int]:
    """Return height and width in pixels as a person would see the image, from the header alone."""
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_EXIF_ORIENTATION) in _TURNED
    except BROKEN as error:
        raise UnreadableImageError(f"not an image: {error}") from error
    return (width, height) if turned else (height, width)


def decode_rgb(data: bytes) -> Pixels:
    """Return the pixels as uint8 [H, W, 3], RGB, upright.

    16-bit greys are scaled to 8, transparent pixels lie on white, CMYK and palettes are converted; the first frame
    of several.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))
    except BROKEN as error:
        raise UnreadableImageError(f"damaged: {error}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = np.asarray(picture, np.float64)
        scale = 257.0 if grey.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(np.round(grey / scale), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return picture.convert("RGB")
