"""Decoding: upright RGB pixels from whatever a camera or a desktop program wrote, or a reason why not."""

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import decode_rgb, header_size
from taskdistill.tasks.data.opening import UnreadableImageError

# Two rows of three pixels, all different: red, green, blue / white, black, grey.
COLOURS = np.asarray([[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(255, 255, 255), (0, 0, 0), (128, 128, 128)]], np.uint8)


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, COLOURS),
        (2, COLOURS[:, ::-1]),
        (3, COLOURS[::-1, ::-1]),
        (4, COLOURS[::-1]),
        (5, COLOURS.transpose(1, 0, 2)),
        (6, np.rot90(COLOURS, -1)),
        (7, COLOURS.transpose(1, 0, 2)[::-1, ::-1]),
        (8, np.rot90(COLOURS, 1)),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_the_eight_orientations_of_a_camera_are_undone(orientation: int, turned: np.ndarray, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(COLOURS), form, exif=exif, **options)
    assert np.array_equal(decode_rgb(data), turned)
    assert sorted(header_size(data)) == [2, 3]


def picture_with_palette(alpha: bytes | int) -> bytes:
    """Three pixels, red, green and blue, with the transparency of each entry or the one entry that is transparent."""
    indexed = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return encoded(indexed, transparency=alpha)


def picture(*pixels: int | tuple[int, ...], mode: str, depth: type = np.uint8) -> Image.Image:
    """One row of pixels."""
    array = np.asarray([pixels], depth)
    return Image.frombytes(mode, (len(pixels), 1), array.tobytes())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(picture(0, 100, 255, mode="L")), [(0,) * 3, (100,) * 3, (255,) * 3]),
        # Grey 100 at half opacity on white: 100 * 128 / 255 + 255 * 127 / 255 = 177.
        (encoded(picture((100, 128), (9, 0), mode="LA")), [(177,) * 3, (255,) * 3]),
        (
            encoded(picture((255, 0, 0, 255), (255, 0, 0, 128), (0, 0, 0, 0), mode="RGBA")),
            [(255, 0, 0), (255, 127, 127), (255, 255, 255)],
        ),
        (picture_with_palette(bytes([255, 0, 128])), [(255, 0, 0), (255, 255, 255), (127, 127, 255)]),
        (picture_with_palette(1), [(255, 0, 0), (255, 255, 255), (0, 0, 255)]),
        (
            encoded(picture((9, 9, 9), (1, 2, 3), mode="RGB"), transparency=(1, 2, 3)),
            [(9, 9, 9), (255, 255, 255)],
        ),
        (
            encoded(picture((0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), mode="CMYK"), "TIFF"),
            [(255, 255, 255), (0, 0, 0), (0, 255, 255)],
        ),
        (encoded(picture(0, 51400, 65535, mode="I;16", depth=np.uint16)), [(0,) * 3, (200,) * 3, (255,) * 3]),
        (encoded(picture(0, 51400, 65535, mode="I;16", depth=np.uint16), "TIFF"), [(0,) * 3, (200,) * 3, (255,) * 3]),
        (encoded(picture(0, 51400, 65535, mode="I", depth=np.int32), "TIFF"), [(0,) * 3, (200,) * 3, (255,) * 3]),
        (encoded(Image.fromarray(np.asarray([[True, False, True]]))), [(255,) * 3, (0,) * 3, (255,) * 3]),
    ],
    ids=[
        "L", "LA", "RGBA", "P with an alpha each", "P with one clear entry", "RGB with one clear colour", "CMYK",
        "16-bit grey PNG", "16-bit grey TIFF", "32-bit grey TIFF", "1 bit",
    ],
)  # fmt: skip
def test_every_kind_of_pixel_becomes_rgb_with_what_is_transparent_on_white(
    data: bytes, expected: list[tuple[int, int, int]]
) -> None:
    found = decode_rgb(data, Levels(0, 65535, 1.0))
    assert found.dtype == np.uint8
    assert [tuple(pixel) for pixel in found[0].tolist()] == expected


def test_a_cmyk_jpeg_as_printers_write_it_has_its_colours_and_not_their_negative() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert decode_rgb(data)[8, 8].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_of_several_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    several = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert decode_rgb(several)[8, 8].tolist() == pytest.approx([255, 0, 0], abs=2)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "RGB", "CMYK"])
def test_a_large_image_has_the_pixels_of_its_parts(mode: str) -> None:
    """It is converted a strip at a time; this one is two strips and a part, and the part below is one."""
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (600, 1000, 4), np.uint8), "RGBA").convert(mode)
    part = whole.crop((0, 500, 1000, 600))
    form = "TIFF" if mode == "CMYK" else "PNG"
    options = {"transparency": 3} if mode == "P" else {}
    expected = decode_rgb(encoded(part, form, **options))
    assert np.array_equal(decode_rgb(encoded(whole, form, compress_level=1, **options))[500:], expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"not an image at all, but a letter\n" * 20, "not an image of a format we read"),
        (encoded(noise(), "JPEG")[:-900], "damaged: image file is truncated"),
        (encoded(noise())[:3000], "damaged: image file is truncated"),
        (encoded(noise())[:20], "damaged or cut off in its header"),
        (encoded(noise()).replace(b"IDAT", b"XDAT"), "damaged|not an image"),
        (encoded(noise(), "EPS"), "not an image of a format we read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n", "a Git LFS pointer .*git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page in place of an image"),
        (b"<html><title>404</title></html>", "a web page in place of an image"),
    ],
    ids=[
        "zero bytes", "text", "truncated JPEG", "truncated PNG", "only a header", "no pixels", "EPS", "LFS pointer",
        "web page", "old web page",
    ],
)  # fmt: skip
def test_bytes_that_are_no_image_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_rgb(data)


def test_a_reason_is_the_same_every_time() -> None:
    """It is written into artifacts, which must not differ; Pillow's own message holds a memory address."""
    reasons = set()
    for _ in range(3):
        with pytest.raises(UnreadableImageError) as error:
            decode_rgb(b"a letter")
        reasons.add(str(error.value))
    assert len(reasons) == 1
    assert "0x" not in reasons.pop()


def test_what_pillow_warns_of_odd_metadata_is_not_shown() -> None:
    code = (
        "import warnings, taskdistill.tasks.data.decode\n"
        "warnings.warn_explicit('Corrupt EXIF data', UserWarning, 'x.py', 1, module='PIL.TiffImagePlugin')\n"
        "warnings.warn_explicit('ours', UserWarning, 'x.py', 1, module='tasks.data')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ours" in done.stderr
    assert "EXIF" not in done.stderr
