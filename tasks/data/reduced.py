"""Large photographs as smaller copies: decoded for each of their views they cost more than small networks do."""

import io

from PIL import Image

from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.tasks.data.decode import decoding, needs_levels, rgb_of
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.opening import open_picture
from taskdistill.tasks.functional.views import Size

_QUALITY = 95
"""Of JPEG, without subsampling of colours: what it changes is far below what a network at its own size still sees."""


def within(
    data: bytes, size: Size, limits: IngestConfig | UnlabelledConfig, memory: DecodeMemory
) -> tuple[bytes, Size]:
    """Return an image as it is stored, and its size: a JPEG whose longer side is `reduce_to_px` where it is larger than
    that, else the very bytes. So are images of more than 8 bits, whose levels are those of the whole set.

    `size` is upright. Raises DecodeMemoryError and OutOfMemoryError as decode_rgb does.
    """
    side = limits.reduce_to_px
    if not side or max(size) <= side or needs_levels(data):
        return data, size
    height, width = (max(1, round(length * side / max(size))) for length in size)
    encoded = io.BytesIO()
    with open_picture(data) as picture, decoding(picture, memory):  # its pixels are there until they are reduced
        copy = Image.fromarray(rgb_of(picture, data)).resize((width, height), Image.Resampling.LANCZOS)
        copy.save(encoded, "JPEG", quality=_QUALITY, subsampling=0)
    return encoded.getvalue(), (height, width)


def words_of_reduced(number: int, limits: IngestConfig | UnlabelledConfig) -> str:
    """Say how many images are stored as copies."""
    images = "1 image is stored as a copy" if number == 1 else f"{number:,} images are stored as copies"
    return f"{images} of {limits.reduce_to_px} pixels on the longer side (reduce_to_px)"
