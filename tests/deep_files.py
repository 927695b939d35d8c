"""Image files of more than 8 bits a channel that Pillow cannot write, and broken or hostile ones: written by hand."""

import struct
import zlib

import numpy as np

SHORT, LONG = 3, 4
"""Types of TIFF's tags."""


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_16(values: np.ndarray, *extra_chunks: bytes) -> bytes:
    """A PNG of 16 bits a channel from values [H, W] or [H, W, C]: grey, grey and alpha, RGB or RGBA."""
    height, width = values.shape[:2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[values.size // (height * width)]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *extra_chunks, png_chunk(b"IDAT", zlib.compress(lines, 1))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff(values: np.ndarray, *, order: str = "<", planar: bool = False, **tags: int | list[int]) -> bytes:
    """A TIFF from values [H, W] or [H, W, C] of any type; tags as t262=0 for those that should be other ones."""
    height, width, channels = (*values.shape, 1)[:3]
    planes = [values[..., channel] for channel in range(channels)] if planar else [values]
    body = [plane.astype(values.dtype.newbyteorder(order)).tobytes() for plane in planes]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    found: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [values.dtype.itemsize * 8] * channels, 259: [1],
        262: [1 if channels < 3 else 2], 273: [0] * len(body), 277: [channels], 278: [height],
        279: [len(part) for part in body], 284: [2 if planar else 1], 339: [kind] * channels,
    }  # fmt: skip
    for name, value in tags.items():
        found[int(name[1:])] = value if isinstance(value, list) else [value]
    types = {tag: LONG if tag in (256, 257, 273, 278, 279) else SHORT for tag in found}
    values_at = 8 + 2 + 12 * len(found) + 4
    pixels_at = values_at + sum(_padded(types[tag], numbers) for tag, numbers in found.items())
    found[273] = [pixels_at + sum(len(part) for part in body[:number]) for number in range(len(body))]
    entries, outside = b"", b""
    for tag in sorted(found):
        packed = struct.pack(f"{order}{len(found[tag])}{'H' if types[tag] == SHORT else 'I'}", *found[tag])
        if len(packed) > 4:
            here, outside = values_at + len(outside), outside + packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}I", here)
        entries += struct.pack(f"{order}HHI", tag, types[tag], len(found[tag])) + packed.ljust(4, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(found))
    return magic + entries + b"\0" * 4 + outside + b"".join(body)


def _padded(kind: int, numbers: list[int]) -> int:
    """Bytes that a tag's values take outside the directory."""
    size = (2 if kind == SHORT else 4) * len(numbers)
    return 0 if size <= 4 else size + size % 2
