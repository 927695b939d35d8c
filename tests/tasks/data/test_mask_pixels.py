"""Files of masks: the numbers and colours in them come out as they were put in, or the file is refused."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from taskdistill.tasks.data.mask_pixels import histogram, mask_pixels
from taskdistill.tasks.data.opening import UnreadableImageError
from tests.tasks.data.mask_files import coloured, grey_png_of_bits, indexed, png

VALUES = np.asarray([[0, 1, 2, 3, 3], [3, 3, 2, 1, 0], [2, 2, 2, 2, 2]], np.uint8)
PALETTE = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (250, 1, 2)}


def saved(picture: Image.Image, **how: Any) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, **how)
    return encoded.getvalue()


GREY = Image.fromarray(VALUES)
FILES = {
    "grey PNG": png(GREY),
    "grey BMP": saved(GREY, format="BMP"),
    "grey GIF": saved(GREY, format="GIF"),
    "grey TIFF": saved(GREY, format="TIFF"),
    "grey TIFF, LZW": saved(GREY, format="TIFF", compression="tiff_lzw"),
    "grey PNG of 2 bits": grey_png_of_bits(VALUES, 2),
    "grey PNG of 4 bits": grey_png_of_bits(VALUES, 4),
    "grey PNG of 16 bits": png(Image.fromarray(VALUES.astype(np.uint16))),
    "grey and opaque alpha": png(GREY.convert("LA")),
    "palette PNG": png(indexed(VALUES, PALETTE)),
    "palette PNG of 2 bits": saved(indexed(VALUES, PALETTE), format="PNG", bits=2),
    "palette GIF": saved(indexed(VALUES, PALETTE), format="GIF"),
    "palette BMP": saved(indexed(VALUES, PALETTE), format="BMP"),
}


def codes_of(data: bytes) -> np.ndarray:
    with mask_pixels(data) as mask:
        return np.concatenate([codes for _, codes in mask.strips()])


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_the_numbers_of_a_mask_are_those_that_were_written(data: bytes) -> None:
    np.testing.assert_array_equal(codes_of(data), VALUES)


def test_numbers_of_16_bits_are_kept_whole() -> None:
    values = VALUES.astype(np.uint16) * 20_000
    np.testing.assert_array_equal(codes_of(png(Image.fromarray(values))), values)


def test_a_mask_of_one_bit_holds_0_and_1() -> None:
    np.testing.assert_array_equal(codes_of(png(Image.fromarray(VALUES > 1))), VALUES > 1)


def test_colours_become_one_number_each_with_or_without_opaque_alpha() -> None:
    picture = coloured(VALUES, PALETTE)
    expected = np.asarray([0, 128 << 16, 128 << 8, (250 << 16) + (1 << 8) + 2])[VALUES]
    np.testing.assert_array_equal(codes_of(png(picture)), expected)
    np.testing.assert_array_equal(codes_of(png(picture.convert("RGBA"))), expected)


def test_a_palette_is_kept_beside_the_numbers() -> None:
    with mask_pixels(png(indexed(VALUES, PALETTE))) as mask:
        assert mask.kind == "indexed"
        assert {number: mask.palette()[number] for number in PALETTE} == PALETTE


def test_a_mask_that_a_camera_turned_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with mask_pixels(saved(GREY, format="PNG", exif=exif)) as mask:
        assert mask.size == (3, 5)
        assert not mask.is_canonical


def test_pixels_are_counted_by_number() -> None:
    with mask_pixels(FILES["palette PNG"]) as mask:
        found = histogram(mask)
    assert found.codes_M.tolist() == [0, 1, 2, 3]
    assert found.pixels_M.tolist() == [2, 2, 7, 4]


def test_a_mask_larger_than_a_strip_is_counted_whole() -> None:
    values = np.random.default_rng(0).integers(0, 5, (700, 900), dtype=np.uint8)
    with mask_pixels(png(Image.fromarray(values))) as mask:
        found = histogram(mask)
    np.testing.assert_array_equal(found.pixels_M, np.bincount(values.ravel()))


SEE_THROUGH = GREY.convert("RGBA")
SEE_THROUGH.putpixel((0, 0), (1, 1, 1, 0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (saved(GREY, format="JPEG"), "it is JPEG, which may change the values of pixels"),
        (saved(GREY.convert("RGB"), format="WEBP"), "it is WEBP, which may change"),
        (saved(coloured(VALUES, PALETTE), format="TIFF", compression="jpeg"), r"it is TIFF \(jpeg\), which may"),
        (png(SEE_THROUGH), r"it has transparent pixels \(RGBA\), and which class they are is not known"),
        (saved(Image.fromarray(VALUES.astype(np.float32)), format="TIFF"), "found TIFF F of more than 8 bits"),
        (saved(Image.fromarray(VALUES.astype(np.int32)), format="TIFF"), "found TIFF I of more than 8 bits"),
        (saved(GREY.convert("CMYK"), format="TIFF"), "found TIFF CMYK"),
        (FILES["grey PNG"][:-30], "damaged"),
        (b"", "the file is empty"),
    ],
    ids=["JPEG", "WebP", "JPEG in TIFF", "transparent", "floats", "32 bits", "CMYK", "cut off", "empty"],
)
def test_a_file_that_may_not_hold_what_was_drawn_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason), mask_pixels(data) as mask:
        histogram(mask)
