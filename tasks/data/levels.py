"""Values of more than 8 bits become 8 by one scale for the whole image-set, so that dark images stay dark.

Which value is white, in this order:

1. the format, where it fixes it: the largest value in the header of PGM, the depth of JPEG 2000, 12 bits of TIFF;
2. `data.white_level`, where it is set;
3. the least of 8, 10, 12, 14, 16, 24 and 32 bits that holds every value in the set, and every value that its files
   speak of: the significant bits of PNG (sBIT), the largest sample value of TIFF. These are no scale of their own:
   writers put the brightest value of the one picture there as well as what the camera could give. Images of floats
   have a scale of their own: 1.0 where no value is above it, else as whole numbers.

Black is `data.black_level`, 0 unless set; what lies outside becomes black or white. Test images count as all others:
the depth is that of a camera, and a test image must not be cut off.
"""

import struct

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.deep import DeepPicture, Values, tag_of
from taskdistill.tasks.functional.views import Pixels

DEPTHS = (8, 10, 12, 14, 16, 24, 32)
FULL_16 = 2.0**16 - 1
_LARGEST_SAMPLE = 341
"""The tag SMaxSampleValue of TIFF."""


def least_white(largest: float, *, black: float, is_float: bool) -> float:
    """Return the white level of a set whose largest value is this; beyond 32 bits, the value itself."""
    steps = [1.0] if is_float else []
    steps += [2.0**bits - 1 for bits in DEPTHS]
    return next((white for white in steps if white >= largest and white > black), max(largest, black + 1))


def to_8_bits(picture: DeepPicture, values: Values, levels: Levels) -> Image.Image:
    """Return some rows of a deep picture, [H, W] or [H, W, C], with 8 bits a channel; what is transparent is white."""
    black, white = _ends(picture, levels)
    if picture.mode in ("LA", "RGBA"):
        # Where colours end at 12 bits, alpha may do so too, or be of all 16: what is above white is of all 16.
        opaque = FULL_16 if picture.largest_alpha > white else white
        scaled = np.concatenate(
            [_scaled(values[..., :-1], black, white), _scaled(values[..., -1:], 0, opaque)], axis=-1
        )
    else:
        scaled = _scaled(values, black, white)
    if picture.is_inverted:
        scaled = 255 - scaled
    if picture.clear is not None:
        is_clear = values == np.asarray(picture.clear)
        scaled[is_clear if values.ndim == 2 else is_clear.all(axis=-1)] = 255
    height, width = values.shape[:2]
    return Image.frombytes(picture.mode, (width, height), scaled.tobytes())


def stated_white(picture: ImageFile, data: bytes) -> float:
    """Return the largest value a file speaks of; 0 where it speaks of none."""
    if picture.format == "PNG" and (bits := significant_bits(data)):
        return 2.0**bits - 1
    return float(tag_of(picture, _LARGEST_SAMPLE) or 0)


def significant_bits(png: bytes) -> int:
    """Return the most significant bits that the sBIT chunk of a PNG gives a channel; 0 where it has none."""
    at = 8
    while at + 8 <= len(png):
        (length,), kind = struct.unpack_from(">I", png, at), png[at + 4 : at + 8]
        if kind == b"sBIT":
            return max((bits for bits in png[at + 8 : at + 8 + min(length, 4)] if bits <= 16), default=0)
        if kind == b"IDAT":
            break
        at += length + 12
    return 0


def _ends(picture: DeepPicture, levels: Levels) -> tuple[float, float]:
    if picture.white is not None:
        return 0.0, picture.white
    return levels.black, levels.white_of_floats if picture.is_float else levels.white


def _scaled(values: Values, black: float, white: float) -> Pixels:
    return np.clip(np.rint((values - black) * (255 / (white - black))), 0, 255).astype(np.uint8)
