"""Pictures of more than 8 bits a channel: their values as the file has them, not yet brought to 8 bits.

Pillow keeps one channel of 16 bits, of 32 and of floats, but cuts several channels of 16 bits to their upper bytes,
which leaves 16 levels of what a camera of 12 bits saw. So those are decoded twice, the second time with the order of
the bytes turned round, which gives the lower ones. (PNG with grey and alpha is read as four channels of 8 bits.)

Shape letters: H W pixels, C channels.
"""

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from taskdistill.tasks.data.opening import UnreadableImageError, open_picture

Values = npt.NDArray[Any]

STRIP_PIXELS = 2**18
"""Pixels converted at a time: a whole image as float64 would take many times what it takes as bytes."""

_CHANNELS_OF_16 = re.compile(r"(RGB|RGBA|RGBX|RGBa|LA|CMYK);16[BLN]")
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
"""Tags of TIFF."""
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class DeepPicture(NamedTuple):
    """A picture of more than 8 bits a channel, decoded and upright."""

    planes: tuple[Image.Image, ...]
    """One picture that holds the values, or two, of their upper and their lower bytes."""
    mode: str
    """What its channels are, in Pillow's words: L, LA, RGB, RGBA or CMYK."""
    unpack: Callable[..., Values]
    """From the arrays of the planes to values [H, W] or [H, W, C]."""
    white: float | None = None
    """The value that is white, where the file's format fixes it."""
    is_inverted: bool = False
    """Whether 0 is white."""
    largest_alpha: int = 0
    """Largest value of the last channel, where it is alpha, rounded down to 256."""
    clear: int | tuple[int, ...] | None = None
    """The colour that is transparent, where there is one."""

    @property
    def is_float(self) -> bool:
        return self.planes[0].mode == "F"

    @property
    def size(self) -> tuple[int, int]:
        return self.planes[0].size

    @property
    def num_colours(self) -> int:
        """Channels that are not alpha."""
        return {"L": 1, "LA": 1, "CMYK": 4}.get(self.mode, 3)

    def values(self, rows: slice) -> Values:
        """Return the values of some rows, [h, W] or [h, W, C]."""
        return self.unpack(*(np.asarray(strip(plane, rows)) for plane in self.planes))


def is_deep(picture: ImageFile) -> bool:
    """Whether an opened picture has more than 8 bits a channel."""
    return _is_grey(picture) or _has_planes(picture) or bool(_CHANNELS_OF_16.fullmatch(_raw_mode(picture)))


def load_deep(picture: ImageFile, data: bytes) -> DeepPicture:
    """Decode a deep picture that was opened from these bytes; errors are Pillow's, or UnreadableImageError."""
    white, clear = _declared_white(picture), picture.info.get("transparency")
    is_inverted = _is_grey(picture) and tag_of(picture, _PHOTOMETRIC) == 0
    load = _load_grey if _is_grey(picture) else _load_planes if _has_planes(picture) else _load_channels
    loaded = load(picture, data)._replace(white=white, clear=clear, is_inverted=is_inverted)
    for plane in loaded.planes:
        ImageOps.exif_transpose(plane, in_place=True)
    if loaded.mode in ("LA", "RGBA"):
        loaded = loaded._replace(largest_alpha=_largest_alpha(loaded))
    if loaded.is_float and not all(np.isfinite(loaded.values(rows)).all() for rows in strips_of(*loaded.size)):
        raise UnreadableImageError("it holds values that are no numbers (NaN or infinite)")
    return loaded


def strips_of(width: int, height: int) -> Iterator[slice]:
    """Yield rows of an image, some at a time."""
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def strip(picture: Image.Image, rows: slice) -> Image.Image:
    """Return some rows of a picture."""
    if rows.stop - rows.start == picture.height:
        return picture
    return picture.crop((0, rows.start, picture.width, rows.stop))


def tag_of(picture: ImageFile, number: int) -> Any:
    """Return a tag of a TIFF, the largest where it has several values; None where there is none."""
    value = picture.tag_v2.get(number) if isinstance(picture, TiffImageFile) else None
    return max(value, default=None) if isinstance(value, tuple) else value


def _largest_alpha(picture: DeepPicture) -> int:
    upper = np.asarray(picture.planes[0].getchannel(2 if picture.mode == "LA" else 3))
    return 256 * int(upper.max())


def _is_grey(picture: ImageFile) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _has_planes(picture: ImageFile) -> bool:
    """Whether channels of 16 bits lie one behind the other, which Pillow would read as twice as many of 8 bits."""
    return not _is_grey(picture) and tag_of(picture, _PLANES) == 2 and tag_of(picture, _BITS) == 16


def _declared_white(picture: ImageFile) -> float | None:
    """Return the value that is white where the format fixes it, as Pillow scales it."""
    if picture.mode == "F":
        return None
    if picture.format in ("PPM", "JPEG2000"):  # by the largest value, or the depth, in the header
        return 2.0**16 - 1
    bits = tag_of(picture, _BITS)
    return 2.0**bits - 1 if bits and bits not in (16, 32) else None


def _raw_mode(picture: ImageFile) -> str:
    """How the file's bytes are laid out, in Pillow's words."""
    if not picture.tile:
        return ""
    arguments = picture.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _load_grey(picture: ImageFile, data: bytes) -> DeepPicture:
    if picture.mode == "I" and isinstance(picture, TiffImageFile) and tag_of(picture, _SAMPLE_FORMAT) in (None, 1):
        return DeepPicture((picture,), "L", _as_unsigned)
    return DeepPicture((picture,), "L", lambda plane_HW: plane_HW)


def _load_channels(picture: ImageFile, data: bytes) -> DeepPicture:
    raw_mode = _raw_mode(picture)
    if raw_mode == "LA;16B":
        return DeepPicture((_laid_out(picture, "RGBA"),), "LA", _joined_pairs)
    unpack = _unpremultiplied if raw_mode.startswith("RGBa") else _joined
    layout, order = raw_mode[:-1].replace("RGBa", "RGBA"), raw_mode[-1]
    lower = _laid_out(open_picture(data), layout + _OTHER_ORDER[order])
    return DeepPicture((_laid_out(picture, layout + order), lower), picture.mode, unpack)


def _load_planes(picture: ImageFile, data: bytes) -> DeepPicture:
    if picture.tile[0].codec_name != "raw":
        raise UnreadableImageError("a TIFF with compressed planes of 16 bits: save it with its channels interleaved")
    assert isinstance(picture, TiffImageFile)
    order = "L" if picture.tag_v2.prefix == b"II" else "B"
    lower = _laid_out(open_picture(data), f"*;16{_OTHER_ORDER[order]}")
    return DeepPicture((_laid_out(picture, f"*;16{order}"), lower), picture.mode, _joined)


def _laid_out(picture: ImageFile, raw_mode: str) -> ImageFile:
    """Have a picture decoded as if its bytes were laid out like this; * stands for the channel of each plane."""
    tiles = []
    for tile in picture.tile:
        channel, *others = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        arguments = (raw_mode.replace("*", str(channel)), *others)
        tiles.append(tile._replace(args=arguments))
    picture.tile = tiles
    return picture


def _as_unsigned(plane_HW: Values) -> Values:
    """Pillow has no mode for 32 bits without a sign: values from 2^31 come out negative."""
    return plane_HW.view(np.uint32)


def _joined(upper: Values, lower: Values) -> Values:
    return (upper.astype(np.uint16) << 8) | lower


def _joined_pairs(bytes_HW4: Values) -> Values:
    return _joined(bytes_HW4[..., ::2], bytes_HW4[..., 1::2])


def _unpremultiplied(upper: Values, lower: Values) -> Values:
    """Undo the multiplication by alpha that some TIFF writers do."""
    values_HW4 = _joined(upper, lower)
    alpha_HW1 = np.maximum(values_HW4[..., 3:], 1).astype(np.uint32)
    colours_HW3 = np.minimum(values_HW4[..., :3].astype(np.uint32) * 65535 // alpha_HW1, 65535)
    return np.concatenate([colours_HW3.astype(np.uint16), values_HW4[..., 3:]], axis=-1)
