"""JPEG decoded by simplejpeg, in half of Pillow's time, wherever its pixels are Pillow's to the bit.

Both are libjpeg-turbo, each of a version of its own, and what is decoded belongs to artifacts: so each kind of JPEG is
compared once a process, on small pictures made here, and a kind whose pixels differ is left to Pillow. So is each file
in which simplejpeg finds anything odd, such as a cut end, and all where it is not installed (extra "jpeg").

Shape letters: H W pixels.
"""

import functools
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from taskdistill.tasks.functional.views import Pixels

try:
    import simplejpeg
except ImportError:  # Pillow decodes the same
    simplejpeg = None

_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels_HW3: pixels_HW3[:, ::-1],
    3: lambda pixels_HW3: pixels_HW3[::-1, ::-1],
    4: lambda pixels_HW3: pixels_HW3[::-1],
    5: lambda pixels_HW3: pixels_HW3.swapaxes(0, 1),
    6: lambda pixels_HW3: pixels_HW3.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels_HW3: pixels_HW3.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels_HW3: pixels_HW3.swapaxes(0, 1)[::-1],
}
"""Orientation in EXIF -> what undoes it, without a copy."""
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


class Kind(NamedTuple):
    """What decides by which of libjpeg's ways pixels are computed."""

    colours: str
    """In simplejpeg's words: Gray or YCbCr. Others, such as CMYK, are always left to Pillow."""
    subsampling: str
    is_progressive: bool


_SUBSAMPLINGS = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}
"""Those that cameras and programs write, in simplejpeg's words -> in Pillow's."""
KINDS = (
    *(Kind("YCbCr", name, is_progressive) for name in _SUBSAMPLINGS for is_progressive in (False, True)),
    Kind("Gray", "Gray", False),
    Kind("Gray", "Gray", True),
)


def decoded(picture: ImageFile, data: bytes) -> Pixels | None:
    """Return the pixels of an opened picture as uint8 [H, W, 3], RGB, upright; None where Pillow is to decode it.

    `data` are the bytes that it was opened from.
    """
    if simplejpeg is None or picture.format not in ("JPEG", "MPO"):
        return None
    try:
        _, _, colours, subsampling = simplejpeg.decode_jpeg_header(data)
    except (ValueError, LookupError):  # the latter of a subsampling that it has no name for, such as 4:4:1
        return None
    if Kind(colours, subsampling, "progressive" in picture.info) not in trusted_kinds():
        return None
    try:
        pixels_HW3: Pixels = simplejpeg.decode_jpeg(data, "RGB")  # strict: a file that is odd in any way is an error
    except ValueError:
        return None
    how = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    # By numpy: Pillow would need a third of them in memory, which nobody has counted.
    return pixels_HW3 if how is None else np.ascontiguousarray(how(pixels_HW3))


@functools.cache
def trusted_kinds() -> frozenset[Kind]:
    """Return the kinds that simplejpeg decodes to Pillow's bits; takes some milliseconds once a process."""
    return frozenset(kind for kind in KINDS if all(_is_alike(data) for data in samples(kind)))


def _is_alike(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as picture:
        by_pillow = np.asarray(picture.convert("RGB"))
    try:
        return np.array_equal(simplejpeg.decode_jpeg(data, "RGB"), by_pillow)
    except ValueError:
        return False


def samples(kind: Kind) -> Iterator[bytes]:
    """Yield small pictures of a kind, smooth and rough, whose sides are no multiple of a block; of a progressive one
    also with its last scan missing, where the decoder smooths what it has.
    """
    rough = np.random.default_rng(0).integers(0, 256, (37, 59, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(rough[:5, :7]).resize((59, 37), Image.Resampling.BICUBIC))
    for pixels_HW3 in (rough, smooth):
        whole = _encoded(pixels_HW3, kind)
        yield whole
        if kind.is_progressive:
            yield whole[: whole.rindex(_START_OF_SCAN)] + _END_OF_IMAGE


def _encoded(pixels_HW3: Pixels, kind: Kind) -> bytes:
    picture, file = Image.fromarray(pixels_HW3), io.BytesIO()
    options: dict[str, object] = {"quality": 90, "progressive": kind.is_progressive}
    if kind.colours == "Gray":
        picture.convert("L").save(file, "JPEG", **options)
    else:
        picture.save(file, "JPEG", subsampling=_SUBSAMPLINGS[kind.subsampling], **options)
    return file.getvalue()
