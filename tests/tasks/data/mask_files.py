"""Small masks and datasets of them, written by a few lines."""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Values = npt.NDArray[np.uint8]

HALVES = np.repeat([[0, 1]], 8, axis=0).repeat(4, axis=1).astype(np.uint8)
"""8 x 8 pixels: the left half 0, the right half 1."""


def png(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def indexed(values: Values, palette: Mapping[int, tuple[int, int, int]]) -> Image.Image:
    """Return a mask with a palette, whose other entries are black."""
    picture = Image.frombytes("P", values.shape[::-1], values.tobytes())
    picture.putpalette([level for number in range(256) for level in palette.get(number, (0, 0, 0))])
    return picture


def coloured(values: Values, colours: Mapping[int, tuple[int, int, int]]) -> Image.Image:
    pixels = np.zeros((*values.shape, 3), np.uint8)
    for value, colour in colours.items():
        pixels[values == value] = colour
    return Image.fromarray(pixels)


def grey_png_of_bits(values: Values, bits: int) -> bytes:
    """Return a PNG of grey with fewer than 8 bits a pixel, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    lines = b""
    for row in values.tolist():
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        lines += b"\0" + bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def photograph(seed: int, height: int = 8, width: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def write_pictures(folder: Path, paths: Iterable[str]) -> None:
    """Write a photograph to each path."""
    for seed, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        photograph(seed).save(folder / path)


def write_masks(folder: Path, paths: Iterable[str], mask: Image.Image | None = None) -> None:
    """Write one and the same mask to each path."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (mask or Image.fromarray(HALVES)).save(folder / path)


def write_folders(folder: Path, mask: Image.Image | None = None, counts: tuple[int, int, int] = (3, 1, 1)) -> Path:
    """Write images/{split}/n.jpg and masks/{split}/n.png."""
    splits = zip(("train", "val", "test"), counts, strict=True)
    names = [f"{split}/{number}" for split, count in splits for number in range(count)]
    write_pictures(folder, [f"images/{name}.jpg" for name in names])
    write_masks(folder, [f"masks/{name}.png" for name in names], mask)
    return folder
