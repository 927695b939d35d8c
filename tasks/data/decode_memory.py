"""Decoding within a stated memory: as many images at once as fit, each counted by its header."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from PIL.ImageFile import ImageFile

from taskdistill.configs.errors import UserError
from taskdistill.tasks.data.deep import STRIP_PIXELS, is_deep

_ARRAY = 3
"""Bytes of a pixel in the array that is returned."""


class DecodeMemoryError(UserError, MemoryError):
    """One image alone needs more memory than decoding may take; the message names the settings to change."""


class DecodeMemory:
    """The memory that images may take at the same time while they are decoded, for any number of threads.

    Those that wait go in the order in which they came, so that a large image is not passed by small ones for ever.
    """

    def __init__(self, megabytes: int) -> None:
        self._total = self._free = megabytes * 2**20
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, num_bytes: int, picture: ImageFile) -> Iterator[None]:
        """Wait until there is room for what decoding a picture takes, and keep it taken inside.

        Raises DecodeMemoryError where the picture needs more than there is at all.
        """
        if num_bytes > self._total:
            needed = -(-num_bytes // 2**20)
            raise DecodeMemoryError(
                f"decoding {picture.width}x{picture.height} pixels ({picture.format}, {picture.mode}) takes about "
                f"{needed} MiB, and runtime.decode_memory_mb allows {self._total // 2**20}: set "
                f"runtime.decode_memory_mb={needed}, or have such images set aside with a smaller data.max_megapixels"
            )
        self._take(num_bytes)
        try:
            yield
        finally:
            with self._changed:
                self._free += num_bytes
                self._changed.notify_all()

    def _take(self, num_bytes: int) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and num_bytes <= self._free)
                self._free -= num_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()


def bytes_to_decode(picture: ImageFile) -> int:
    """Return what decoding an opened picture to RGB takes at most, its encoded bytes not counted.

    First the decoder works beside the picture it fills; then there are the picture, or two, of the upper and the lower
    bytes of 16-bit channels, and beside it one that is turned upright or the array. Measured with Pillow 13 for every
    format as the growth of the process's peak; a test measures the same again.
    """
    pixels = picture.width * picture.height
    stored = {"1": 1, "L": 1, "P": 1}.get(picture.mode, 2 if picture.mode.startswith("I;16") else 4)
    deep = is_deep(picture)
    planes = 2 if deep and stored == 4 and picture.mode not in ("I", "F") else 1
    loading = (planes - 1) * stored + stored + _beside(picture)
    converting = planes * stored + max(stored, _ARRAY)
    in_strips = min(pixels, STRIP_PIXELS) * (32 * len(picture.getbands()) if deep else 16)
    return pixels * max(loading, converting) + in_strips


def _beside(picture: ImageFile) -> int:
    """Bytes a pixel that the decoder of a format needs beside the picture it fills."""
    bands = len(picture.getbands())
    match picture.format:
        case "JPEG" | "MPO":  # all coefficients of a progressive one
            return 2 * bands if "progressive" in picture.info else 0
        case "WEBP":  # two canvases, what the lossless decoder works in, and a copy
            return 14
        case "AVIF":
            return 12
        case "JPEG2000":  # whole numbers of 32 bits
            return 4 * bands + 4
        case "TIFF" if any(tile.codec_name == "libtiff" for tile in picture.tile):
            # One strip may be all of the image.
            return 8 if is_deep(picture) else 4
        case "PPM":  # decoded by Python, and copied once
            return 9
        case _:
            return 1
