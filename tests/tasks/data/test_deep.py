"""Images of more than 8 bits: each value by the scale it is given, in every layout that cameras and scanners write."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import NoLevelsError, decode_rgb
from taskdistill.tasks.data.levels import least_white, significant_bits
from taskdistill.tasks.data.opening import UnreadableImageError
from tests.deep_files import png_16, png_chunk, tiff

TWELVE_BITS = Levels(0, 4095, 1.0)
SIXTEEN_BITS = Levels(0, 65535, 1.0)

# 12-bit values and what they are of 255: 1365 is a third of 4095, 2730 two thirds, 16 rounds to 1 and 7 to 0.
GREY = np.asarray([[0, 7, 16], [1365, 2730, 4095]], np.uint16)
GREY_OF_8_BITS = [[0, 0, 1], [85, 170, 255]]
COLOURS = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
COLOURS_OF_8_BITS = np.stack([np.asarray(GREY_OF_8_BITS)] * 3, axis=-1)
COLOURS_OF_8_BITS[..., 1] = COLOURS_OF_8_BITS[::-1, :, 0]
COLOURS_OF_8_BITS[..., 2] = COLOURS_OF_8_BITS[:, ::-1, 0]


def with_alpha(colours: np.ndarray, alpha: int) -> np.ndarray:
    channels = colours if colours.ndim == 3 else colours[..., None]
    return np.concatenate([channels, np.full((*colours.shape[:2], 1), alpha, colours.dtype)], axis=-1)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        png_16(GREY),
        png_16(with_alpha(GREY, 65535)),
        png_16(with_alpha(GREY, 4095)),
        tiff(GREY),
        tiff(GREY, order=">"),
        tiff(GREY.astype(np.int16)),
        tiff(GREY.astype(np.uint32)),
        tiff(GREY.astype(np.int32), order=">"),
        tiff(4095 - GREY, t262=0),
        saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw"),
    ],
    ids=[
        "PNG", "PNG with alpha of 16 bits", "PNG with alpha of 12", "TIFF", "TIFF of the other byte order",
        "with a sign", "32 bits", "32 bits with a sign", "TIFF where 0 is white", "TIFF with LZW",
    ],
)  # fmt: skip
def test_grey_values_are_scaled_by_the_levels_they_are_given(data: bytes) -> None:
    found = decode_rgb(data, TWELVE_BITS)
    assert found.shape == (2, 3, 3)
    assert all(found[..., channel].tolist() == GREY_OF_8_BITS for channel in range(3))


@pytest.mark.parametrize(
    "data",
    [
        png_16(COLOURS),
        png_16(with_alpha(COLOURS, 65535)),
        png_16(with_alpha(COLOURS, 4095)),
        tiff(COLOURS),
        tiff(COLOURS, order=">"),
        tiff(COLOURS, planar=True),
        tiff(COLOURS, planar=True, order=">"),
        tiff(with_alpha(COLOURS, 65535), t338=2),
        tiff(with_alpha(COLOURS, 65535), t338=1),
        tiff(with_alpha(COLOURS, 0), t338=0),
    ],
    ids=[
        "PNG", "PNG with alpha of 16 bits", "PNG with alpha of 12", "TIFF", "TIFF of the other byte order", "planes",
        "planes of the other byte order", "TIFF with alpha", "TIFF multiplied by alpha", "TIFF with a fourth channel",
    ],
)  # fmt: skip
def test_colours_keep_their_lower_bytes(data: bytes) -> None:
    """Pillow's own conversion takes the upper byte, which leaves 16 levels of a camera of 12 bits."""
    assert np.array_equal(decode_rgb(data, TWELVE_BITS), COLOURS_OF_8_BITS)


def test_half_transparent_colours_lie_on_white() -> None:
    values = np.asarray([[[65535, 0, 0, 32768]]], np.uint16)  # red at half opacity: 255 * 127 / 255 of white
    assert decode_rgb(png_16(values), SIXTEEN_BITS)[0, 0].tolist() == [255, 127, 127]
    assert decode_rgb(tiff(values // np.asarray([2, 1, 1, 1], np.uint16), t338=1), SIXTEEN_BITS)[0, 0].tolist() == [
        255, 127, 127,
    ]  # fmt: skip


def test_the_one_transparent_colour_of_a_png_is_white() -> None:
    grey = png_16(GREY, png_chunk(b"tRNS", (16).to_bytes(2, "big")))
    assert decode_rgb(grey, TWELVE_BITS)[0, :, 0].tolist() == [0, 0, 255]
    colours = png_16(COLOURS, png_chunk(b"tRNS", COLOURS[0, 1].astype(">u2").tobytes()))
    expected = COLOURS_OF_8_BITS.copy()
    expected[0, 1] = 255
    assert np.array_equal(decode_rgb(colours, TWELVE_BITS), expected)


def test_cmyk_of_16_bits_is_converted() -> None:
    ink = np.asarray([[(0, 0, 0, 0), (0, 0, 0, 65535), (65535, 0, 0, 0)]], np.uint16)
    assert decode_rgb(tiff(ink, t262=5), SIXTEEN_BITS)[0].tolist() == [[255] * 3, [0] * 3, [0, 255, 255]]


def test_values_of_32_bits_without_a_sign_do_not_come_out_negative() -> None:
    values = np.asarray([[0, 2**31, 2**32 - 1]], np.uint32)
    assert decode_rgb(tiff(values), Levels(0, 2.0**32 - 1, 1.0))[0, :, 0].tolist() == [0, 128, 255]


def test_floats_have_a_scale_of_their_own() -> None:
    values = np.asarray([[-0.5, 0.0, 0.2, 1.0, 1.5]], np.float32)
    for data in (tiff(values), tiff(values, order=">"), saved(Image.fromarray(values), "PPM")):
        assert decode_rgb(data, Levels(0, 4095, 1.0))[0, :, 0].tolist() == [0, 0, 51, 255, 255]


def test_a_scale_may_begin_below_zero() -> None:
    hounsfield = np.asarray([[-2000, -1000, 0, 1000, 3000]], np.int16)
    assert decode_rgb(tiff(hounsfield), Levels(-1000, 1000, 1.0))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_with_values_that_are_no_numbers_is_refused(value: float) -> None:
    with pytest.raises(UnreadableImageError, match=r"^it holds values that are no numbers"):
        decode_rgb(tiff(np.asarray([[0.5, value]], np.float32)), SIXTEEN_BITS)


def test_a_format_that_fixes_white_is_scaled_by_it_whatever_the_levels_are() -> None:
    twelve_bits_packed = tiff(np.asarray([[0x00, 0xF, 0xFF]], np.uint8), t256=2, t258=12)
    assert decode_rgb(twelve_bits_packed, Levels(0, 1023, 1.0))[0, :, 0].tolist() == [0, 255]
    portable = b"P5\n3 1\n4095\n" + np.asarray([0, 1365, 4095], ">u2").tobytes()
    assert decode_rgb(portable, Levels(0, 1023, 1.0))[0, :, 0].tolist() == [0, 85, 255]
    jpeg_2000 = saved(Image.fromarray(np.full((8, 8), 21845, np.uint16)), "JPEG2000")
    assert decode_rgb(jpeg_2000, Levels(0, 1023, 1.0))[0, 0, 0] == 85


def test_compressed_planes_which_cannot_be_read_exactly_are_refused() -> None:
    planes = [zlib.compress(COLOURS[..., channel].tobytes()) for channel in range(3)]
    data = tiff(COLOURS, planar=True, t259=8, t279=[len(plane) for plane in planes])
    with pytest.raises(
        UnreadableImageError, match="compressed planes of 16 bits: save it with its channels interleaved"
    ):
        decode_rgb(data, SIXTEEN_BITS)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_deep_images_are_turned_upright(orientation: int) -> None:
    turned = {1: COLOURS_OF_8_BITS, 3: COLOURS_OF_8_BITS[::-1, ::-1], 6: np.rot90(COLOURS_OF_8_BITS, -1)}[orientation]
    assert np.array_equal(decode_rgb(tiff(COLOURS, t274=orientation), TWELVE_BITS), turned)
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunk = png_chunk(b"eXIf", exif.tobytes()[6:])
    assert np.array_equal(decode_rgb(png_16(COLOURS, chunk), TWELVE_BITS), turned)


@pytest.mark.parametrize("data", [png_16(GREY), png_16(COLOURS), tiff(GREY), tiff(COLOURS, planar=True)])
def test_without_levels_no_scale_is_guessed(data: bytes) -> None:
    with pytest.raises(NoLevelsError, match="which values are black and white is known for a whole image-set only"):
        decode_rgb(data)


def test_a_large_image_has_the_pixels_of_its_parts() -> None:
    """It is converted a strip at a time; this one is two strips and a part."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4096, (600, 1000, 3)).astype(np.uint16)
    found = decode_rgb(tiff(values), TWELVE_BITS)
    assert np.array_equal(found, np.rint(values / 4095 * 255))


def test_the_least_depth_that_holds_the_largest_value_is_white() -> None:
    of_integers = {
        0: 255,
        255: 255,
        256: 1023,
        1023: 1023,
        1024: 4095,
        4095: 4095,
        4096: 16383,
        16384: 65535,
        65536: 2**24 - 1,
    }
    assert {value: least_white(value, black=0, is_float=False) for value in of_integers} == of_integers
    of_floats = {0.02: 1, 1.0: 1, 1.01: 255, 255.0: 255, 300.5: 1023, 2.0**33: 2.0**33}
    assert {value: least_white(value, black=0, is_float=True) for value in of_floats} == of_floats
    assert least_white(300, black=300, is_float=False) == 1023
    assert least_white(-5, black=-1000, is_float=False) == 255


def test_significant_bits_are_read_from_a_png_and_from_nothing_else() -> None:
    assert significant_bits(png_16(GREY, png_chunk(b"gAMA", bytes(4)), png_chunk(b"sBIT", b"\x0c"))) == 12
    assert significant_bits(png_16(COLOURS, png_chunk(b"sBIT", b"\x0a\x0c\x0b"))) == 12
    assert significant_bits(png_16(GREY)) == 0
    assert significant_bits(png_16(GREY, png_chunk(b"sBIT", b"\xff"))) == 0
    assert significant_bits(png_16(GREY, png_chunk(b"sBIT", b"\x0c"))[:41]) == 0
