"""Files made to break a decoder, or broken by chance: pixels or a reason, in the memory and time of honest ones."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import check_mask, decode_rgb, header_size
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.opening import FORMATS, UnreadableImageError
from tests.deep_files import png_16, png_chunk, tiff

LEVELS = Levels(0, 65535, 1.0)
MIB = 2**20


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def small_files() -> dict[str, bytes]:
    """One small sound file of each kind that is read."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
    values = rng.integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker of cameras"
    text = PngInfo()
    text.add_text("comment", "words " * 20, zip=True)
    turned = {
        form: encoded(noise, form, exif=exif) for form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF") if form in FORMATS
    }
    plain = {form: encoded(noise, form) for form in ("BMP", "GIF", "JPEG2000", "PPM")}
    two = {"save_all": True, "append_images": [noise.rotate(90)]}
    return turned | plain | {
        "progressive JPEG": encoded(noise, "JPEG", progressive=True),
        "two pictures": encoded(noise, "MPO", **two),
        "animated PNG": encoded(noise, "PNG", **two),
        "animated WebP": encoded(noise, "WEBP", lossless=True, **two),
        "animated GIF": encoded(noise.convert("P"), "GIF", **two),
        "PNG with text": encoded(noise.convert("P"), "PNG", pnginfo=text, icc_profile=bytes(300), transparency=3),
        "TIFF with LZW": encoded(noise, "TIFF", compression="tiff_lzw"),
        "TIFF of a fax": encoded(noise.convert("1"), "TIFF", compression="group4"),
        "16-bit PNG": png_16(values),
        "16-bit TIFF": tiff(values),
        "16-bit TIFF of planes": tiff(values, planar=True),
        "TIFF of floats": tiff(values[..., 0].astype(np.float32)),
        "16-bit grey": encoded(Image.fromarray(values[..., 0]), "PPM"),
        "12-bit grey": b"P5\n7 9\n4095\n" + (values[..., 0] >> 4).astype(">u2").tobytes(),
    }  # fmt: skip


FILES = small_files()


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes anywhere or near the beginning, cut the end off, or cut a piece out."""
    data = bytearray(good)
    match rng.integers(4):
        case 0:
            data[int(rng.integers(len(data))) :] = b""
        case 1:
            start = int(rng.integers(len(data)))
            data[start : start + int(rng.integers(1, 30))] = b"\xff" * int(rng.integers(8))
        case anywhere_or_begin:
            reach = len(data) if anywhere_or_begin == 2 else min(len(data), 120)
            for position in rng.integers(0, reach, 4):
                data[position] = rng.integers(256)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged EXIF
@pytest.mark.parametrize("kind", FILES)
def test_damage_anywhere_gives_pixels_or_a_reason_and_never_another_error(kind: str) -> None:
    assert decode_rgb(FILES[kind], LEVELS).shape[2] == 3
    rng, memory = np.random.default_rng(0), DecodeMemory(256)
    for _ in range(60):
        data = damaged(FILES[kind], rng)
        try:
            if np.prod(header_size(data)) < 1e6:
                assert decode_rgb(data, LEVELS, memory=memory).shape[2] == 3
        except UnreadableImageError as error:
            assert str(error)  # noqa: PT017


def png_with(*chunks: bytes) -> bytes:
    """A sound PNG of 16 pixels a side with these chunks before its pixels."""
    data = FILES["PNG"]
    at = data.index(b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


def test_text_that_unpacks_to_much_more_is_not_unpacked() -> None:
    bomb = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(20 * MIB), 9))
    with pytest.raises(UnreadableImageError, match="Decompressed data too large"):
        decode_rgb(png_with(bomb))


def test_a_colour_profile_that_unpacks_to_much_more_is_not_unpacked() -> None:
    bomb = png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(20 * MIB), 9))
    with pytest.raises(UnreadableImageError, match="Decompressed data too large"):
        decode_rgb(png_with(bomb))


def test_a_colour_profile_is_not_applied_and_one_that_is_none_does_no_harm() -> None:
    plain = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    for form in ("PNG", "TIFF"):
        with_profile = encoded(plain, form, icc_profile=b"no profile" * 50)
        assert np.array_equal(decode_rgb(with_profile), np.asarray(plain))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the tag
def test_a_tag_of_a_tiff_that_claims_more_than_the_file_holds_is_not_believed() -> None:
    data = bytearray(tiff(np.zeros((4, 4), np.uint8)))
    at = data.index(struct.pack("<HHI", 279, 4, 1))  # the size of its only strip
    data[at + 4 : at + 8] = struct.pack("<I", 2**31)
    assert decode_rgb(bytes(data)).tolist() == np.zeros((4, 4, 3)).tolist()


def test_the_size_of_an_animation_of_a_huge_canvas_is_told_without_making_the_canvas() -> None:
    two = {"save_all": True, "append_images": [Image.new("RGBA", (4, 4), "red")], "lossless": True}
    data = bytearray(encoded(Image.new("RGBA", (4, 4)), "WEBP", **two))
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = struct.pack("<I", 16382)[:3] * 2
    began = time.process_time()
    assert header_size(bytes(data)) == (16383, 16383)
    assert time.process_time() - began < 0.2  # to fill 2 GB takes longer


def test_only_the_first_of_many_frames_is_decoded() -> None:
    frames = [Image.new("P", (700, 700), number) for number in range(60)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    alone = encoded(frames[0], "GIF")

    def seconds(file: bytes) -> float:
        began = time.process_time()
        decode_rgb(file)
        return time.process_time() - began

    seconds(alone)
    assert min(seconds(data) for _ in range(3)) < 10 * min(seconds(alone) for _ in range(3))


def test_a_mask_larger_than_its_image_is_refused_by_its_header() -> None:
    mask = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    mask[16:24] = struct.pack(">II", 60_000, 60_000)
    mask[29:33] = struct.pack(">I", zlib.crc32(mask[12:29]))
    with pytest.raises(UnreadableImageError, match="it is 60000x60000 pixels, the upright image 8x8"):
        check_mask(bytes(mask), (8, 8))
