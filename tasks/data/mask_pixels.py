"""Files of masks: which can hold one without loss, and the number or colour at each pixel of it.

What Pillow would change on the way is undone or refused. Grey values of 2 and 4 bits are stretched to 0..255 when it
decodes them, and come back to what the file has; formats and modes in which values may have been rounded are refused.
Of a mask with a palette the numbers are read; what its palette shows is kept beside them.

Shape letters: H W pixels; h rows of a strip; M distinct codes.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from taskdistill.tasks.data.decode import decoding
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.deep import is_deep, strip, strips_of
from taskdistill.tasks.data.label_tables import Colour
from taskdistill.tasks.data.opening import UnreadableImageError, open_picture

Codes = npt.NDArray[np.int32]
"""A number of 0..65535, or a colour as one number: red * 65536 + green * 256 + blue."""
Kind = Literal["values", "indexed", "colours"]

_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF")
_LOSSY_CODECS = ("jpeg", "tiff_jpeg", "webp")
"""Compressions of TIFF that change values."""
_STRETCHED = {"L": 1, "L;2": 85, "L;4": 17}
"""How the bytes of grey values lie in a file -> the factor by which Pillow stretches them to 0..255."""
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B")
_SAVE = "save masks as PNG with one channel of 8 bits, or with a palette"


class MaskPixels(NamedTuple):
    """One mask, decoded and upright."""

    picture: Image.Image
    kind: Kind
    stretch: int
    """What its grey values are divided by."""
    is_16_bits: bool
    is_canonical: bool
    """Whether the file itself is PNG with one channel of 8 bits."""
    has_alpha: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.picture.size

    def strips(self) -> Iterator[tuple[slice, Codes]]:
        """Yield rows with their codes [h, W], some rows at a time: all at once would take several times the picture."""
        for rows in strips_of(*self.size):
            yield rows, self._codes(rows)

    def palette(self) -> dict[int, Colour]:
        """Return the colour of each number of an indexed mask."""
        levels = self.picture.getpalette("RGB") or []
        return {number: (r, g, b) for number, (r, g, b) in enumerate(zip(*[iter(levels)] * 3, strict=False))}

    def _codes(self, rows: slice) -> Codes:
        values = np.asarray(strip(self.picture, rows)).astype(np.int32)
        if self.kind == "colours":
            return (values[..., 0] << 16) | (values[..., 1] << 8) | values[..., 2]
        return (values if values.ndim == 2 else values[..., 0]) // self.stretch


class Histogram(NamedTuple):
    """The distinct codes of a mask, ascending, and the pixels of each."""

    codes_M: Codes
    pixels_M: npt.NDArray[np.int64]


@contextmanager
def mask_pixels(data: bytes, memory: DecodeMemory | None = None) -> Iterator[MaskPixels]:
    """Decode a mask, and keep the memory for it inside.

    Raises UnreadableImageError where the bytes are no mask that was stored without loss; DecodeMemoryError and
    OutOfMemoryError as decode_rgb does.
    """
    with open_picture(data) as picture:
        _refuse_lossy(picture)
        kind, stretch = _kind_of(picture), _stretch_of(picture)
        is_16_bits = picture.mode in _SIXTEEN_BITS
        is_canonical = picture.format == "PNG" and (picture.mode, stretch) == ("L", 1)
        with decoding(picture, memory):
            picture.load()
            has_alpha = picture.mode in ("LA", "RGBA")
            if has_alpha and picture.getchannel("A").getextrema() != (255, 255):
                raise UnreadableImageError(
                    f"it has transparent pixels ({picture.mode}), and which class they are is not known: {_SAVE}"
                )
            is_turned = picture.getexif().get(0x0112, 1) != 1
            ImageOps.exif_transpose(picture, in_place=True)
            yield MaskPixels(picture, kind, stretch, is_16_bits, is_canonical and not is_turned, has_alpha)


def histogram(mask: MaskPixels) -> Histogram:
    """Count the pixels of each code: masks have few runs of equal pixels, and only these are sorted."""
    found: Counter[int] = Counter()
    for _, codes_hW in mask.strips():
        codes = codes_hW.ravel()
        starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
        lengths = np.diff(starts, append=len(codes))
        distinct_M, run_of = np.unique(codes[starts], return_inverse=True)
        pixels_M = np.bincount(run_of, weights=lengths).astype(np.int64)
        found.update(dict(zip(distinct_M.tolist(), pixels_M.tolist(), strict=True)))
    ordered = sorted(found.items())
    return Histogram(
        np.asarray([code for code, _ in ordered], np.int32), np.asarray([pixels for _, pixels in ordered], np.int64)
    )


def code_of(colour: Colour) -> int:
    """Return a colour as one number."""
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def colour_of(code: int) -> Colour:
    """Return the colour that a number stands for."""
    return code >> 16, (code >> 8) & 255, code & 255


def is_grey(code: int) -> bool:
    """Whether a colour has no hue, so that it may be a number written three times."""
    red, green, blue = colour_of(code)
    return red == green == blue


def _refuse_lossy(picture: ImageFile) -> None:
    compression = str(picture.info.get("compression", "")) if picture.format == "TIFF" else ""
    if picture.format not in _LOSSLESS or compression in _LOSSY_CODECS:
        how = f"{picture.format} ({compression})" if compression else picture.format
        raise UnreadableImageError(
            f"it is {how}, which may change the values of pixels, so that a class becomes another one at every border: "
            f"make it anew from its source, and {_SAVE}"
        )


def _kind_of(picture: ImageFile) -> Kind:
    kinds: dict[str, Kind] = {"P": "indexed", "RGB": "colours", "RGBA": "colours"}
    kinds |= dict.fromkeys(("1", "L", "LA", *_SIXTEEN_BITS), "values")
    if picture.mode not in kinds or (is_deep(picture) and picture.mode not in _SIXTEEN_BITS):
        raise UnreadableImageError(
            f"a mask must be PNG, TIFF, BMP or GIF with one channel of 8 or 16 bits, a palette, or RGB of 8 bits; "
            f"found {picture.format} {picture.mode}{' of more than 8 bits' if is_deep(picture) else ''}"
        )
    return kinds[picture.mode]


def _stretch_of(picture: ImageFile) -> int:
    """Return the factor by which decoding stretches the values of an opened picture."""
    if picture.mode != "L" or picture.format not in ("PNG", "TIFF"):
        return 1
    layout = _layout(picture)
    if layout not in _STRETCHED:
        raise UnreadableImageError(f"its grey values are stored in a way that decoding changes ({layout}): {_SAVE}")
    return _STRETCHED[layout]


def _layout(picture: ImageFile) -> str:
    """Return how the bytes lie in the file, in Pillow's words."""
    arguments: Any = picture.tile[0].args if picture.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)
