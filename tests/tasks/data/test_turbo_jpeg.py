"""JPEG by simplejpeg: Pillow's pixels, or Pillow itself."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from taskdistill.tasks.data import turbo_jpeg
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.data.opening import UnreadableImageError, open_picture
from taskdistill.tasks.data.turbo_jpeg import KINDS, Kind, decoded, samples, trusted_kinds
from taskdistill.tasks.functional.views import Pixels

simplejpeg = pytest.importorskip("simplejpeg", reason="the extra jpeg is not installed")

NOISE = np.random.default_rng(0).integers(0, 256, (37, 59, 3), np.uint8)
BASELINE = Kind("YCbCr", "420", is_progressive=False)


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decode as where simplejpeg is not installed."""

    def decode(data: bytes) -> Pixels:
        with monkeypatch.context() as patch:
            patch.setattr(turbo_jpeg, "simplejpeg", None)
            return decode_rgb(data)

    return decode


def encoded(mode: str = "RGB", size: tuple[int, int] = (45, 31), **options: Any) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 4), np.uint8)
    picture = Image.fromarray(pixels[..., :3]) if mode != "CMYK" else Image.fromarray(pixels, "CMYK")
    picture.convert(mode).save(file := io.BytesIO(), "JPEG", **options)
    return file.getvalue()


def is_taken(data: bytes) -> bool:
    with open_picture(data) as picture:
        return decoded(picture, data) is not None


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(45, 31), (64, 48), (1, 1), (2, 9), (9, 2), (200, 131)])
def test_what_cameras_write_is_taken_and_has_pillows_pixels(
    by_pillow: Any, size: tuple[int, int], subsampling: str, progressive: bool
) -> None:
    for quality in (30, 95):
        data = encoded(size=size, subsampling=subsampling, progressive=progressive, quality=quality)
        assert is_taken(data)
        np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


def test_grey_is_taken_too(by_pillow: Any) -> None:
    data = encoded("L")
    assert is_taken(data)
    np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
def test_all_orientations_are_undone(by_pillow: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(exif=exif)
    assert is_taken(data)
    np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


def test_of_several_pictures_the_first_is_taken(by_pillow: Any) -> None:
    frames = [Image.linear_gradient("L").convert("RGB").rotate(angle) for angle in (0, 90)]
    frames[0].save(file := io.BytesIO(), "MPO", save_all=True, append_images=frames[1:])
    assert is_taken(file.getvalue())
    np.testing.assert_array_equal(decode_rgb(file.getvalue()), by_pillow(file.getvalue()))


@pytest.mark.parametrize(
    "data",
    [
        encoded("CMYK"),
        simplejpeg.encode_jpeg(NOISE, colorsubsampling="440"),
        simplejpeg.encode_jpeg(NOISE, colorsubsampling="411"),
        encoded(keep_rgb=True),
        encoded()[:-30] + b"\xff\xd9",
        encoded()[:-200] + bytes(200),
    ],
    ids=["cmyk", "4:4:0", "4:1:1", "rgb within", "cut, with an end", "zeros at the end"],
)
def test_what_may_differ_or_is_odd_is_left_to_pillow(by_pillow: Any, data: bytes) -> None:
    assert not is_taken(data)
    np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


def test_a_subsampling_that_has_no_name_is_left_to_pillow(by_pillow: Any) -> None:
    """4:4:1, whose brightness has four rows for each of the colours: of 4:2:0 with the sampling of its header changed,
    so that there are blocks enough for pixels of some kind.
    """
    data = bytearray(encoded(size=(64, 64), subsampling="4:2:0"))
    of_brightness = data.index(b"\xff\xc0") + 11
    assert (data[of_brightness], data[of_brightness + 3], data[of_brightness + 6]) == (0x22, 0x11, 0x11)
    data[of_brightness] = 0x14
    with pytest.raises(LookupError):
        simplejpeg.decode_jpeg_header(bytes(data))
    assert not is_taken(bytes(data))
    np.testing.assert_array_equal(decode_rgb(bytes(data)), by_pillow(bytes(data)))


def test_a_file_that_is_cut_off_is_the_error_that_pillow_gives(by_pillow: Any) -> None:
    data = encoded()[:-30]
    with pytest.raises(UnreadableImageError, match="truncated") as expected:
        by_pillow(data)
    with pytest.raises(UnreadableImageError) as found:
        decode_rgb(data)
    assert str(found.value) == str(expected.value)


def test_arithmetic_coding_has_pillows_pixels(by_pillow: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.jpg").write_bytes(encoded())
    if (jpegtran := shutil.which("jpegtran")) is None:
        pytest.skip("Pillow writes no arithmetic coding, and there is no jpegtran here")
    coded = subprocess.run([jpegtran, "-arithmetic", tmp_path / "plain.jpg"], check=True, capture_output=True)
    data = coded.stdout
    np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


def damaged(count: int) -> Iterator[bytes]:
    """Yield files of all kinds with bytes changed, left out, and cut off."""
    rng = np.random.default_rng(2)
    whole = [data for kind in KINDS for data in samples(kind)]
    for number in range(count):
        data = bytearray(whole[rng.integers(len(whole))])
        place = int(rng.integers(2, len(data)))
        match number % 4:
            case 0:
                del data[place:]
            case 1:
                data[place] = rng.integers(256)
            case 2:
                del data[place : place + 9]
            case _:
                data[place:] = b"\xff\xd9"
        yield bytes(data)


def test_damage_of_any_kind_has_the_same_end_as_with_pillow_alone(by_pillow: Any) -> None:
    ends = {True: 0, False: 0}
    for data in damaged(400):
        try:
            expected = by_pillow(data)
        except UnreadableImageError:
            with pytest.raises(UnreadableImageError):
                decode_rgb(data)
            ends[False] += 1
        else:
            np.testing.assert_array_equal(decode_rgb(data), expected)
            ends[True] += 1
    assert min(ends.values()) > 50


def test_a_kind_whose_pixels_differ_here_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch, by_pillow: Any) -> None:
    """As with a version of libjpeg-turbo that interpolates colours in another way."""

    class Faster:
        decode_jpeg_header = staticmethod(simplejpeg.decode_jpeg_header)

        @staticmethod
        def decode_jpeg(data: bytes, colours: str) -> Pixels:
            return simplejpeg.decode_jpeg(data, colours, fastupsample=True)

    data = next(samples(BASELINE))
    expected = by_pillow(data)
    assert not np.array_equal(Faster.decode_jpeg(data, "RGB"), expected)
    monkeypatch.setattr(turbo_jpeg, "simplejpeg", Faster)
    trusted_kinds.cache_clear()
    try:
        assert {kind.subsampling for kind in trusted_kinds()} == {"444", "Gray"}
        np.testing.assert_array_equal(decode_rgb(data), expected)
    finally:
        trusted_kinds.cache_clear()


def test_where_it_is_not_installed_pillow_decodes_without_a_word() -> None:
    program = (
        "import sys, io; sys.modules['simplejpeg'] = None\n"
        "from PIL import Image\n"
        "from taskdistill.tasks.data.decode import decode_rgb\n"
        "Image.new('RGB', (9, 5), 'white').save(file := io.BytesIO(), 'JPEG')\n"
        "print(decode_rgb(file.getvalue()).mean())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("255.0\n", "")


@pytest.mark.real_data
def test_all_photographs_are_taken_and_have_pillows_pixels(real_data: Path, by_pillow: Any) -> None:
    files = sorted((real_data / "clothing10").rglob("*.jpg"))[::7]
    assert files
    for file in files:
        data = file.read_bytes()
        assert is_taken(data)
        np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))
