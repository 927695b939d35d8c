"""Image files opened: their headers, before a pixel is decoded, and which errors mean that they are damaged."""

import io
import struct
import warnings
import zlib
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from taskdistill.storage.sources import LFS_POINTER

# The size is checked from the header against the ingest's own limits, before a pixel is decoded; Pillow's limit of
# its own would only turn some of our errors into warnings.
Image.MAX_IMAGE_PIXELS = None

# What Pillow warns of (odd metadata) names no file and cannot be mended; what breaks a picture is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Image.init()
FORMATS = sorted({"JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"} & Image.OPEN.keys())
"""What cameras and desktop programs write. Not all that Pillow reads: for EPS it would start Ghostscript."""

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""


_NO_IMAGES = {
    LFS_POINTER: "a Git LFS pointer in place of an image: run 'git lfs pull' in the dataset",
    b"<!doctype html": "a web page in place of an image: download it again",
    b"<html": "a web page in place of an image: download it again",
}
"""How files begin that programs leave where an image should be -> what to say of them."""


class UnreadableImageError(ValueError):
    """Bytes that are no image we can use; the message is the reason."""


def open_picture(data: bytes) -> ImageFile:
    """Read the header of an image file; UnreadableImageError where there is none of a format we read."""
    return open_header(io.BytesIO(data))


def open_header(file: BinaryIO) -> ImageFile:
    """Do the same, and read no more of a file than that takes; UnreadableImageError as `open_picture`."""
    begin = file.read(64)
    file.seek(0)
    if not begin:
        raise UnreadableImageError("the file is empty")
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise UnreadableImageError(_reason(begin)) from error
    except BROKEN as error:
        raise UnreadableImageError(f"damaged or cut off in its header: {error}") from error


def _reason(begin: bytes) -> str:
    known = (reason for start, reason in _NO_IMAGES.items() if begin.lstrip().lower().startswith(start))
    return next(known, f"not an image of a format we read ({', '.join(FORMATS)})")
