"""Decoding within a stated memory: what an image takes is known from its header, and as many as fit go at once."""

import io
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError, bytes_to_decode
from taskdistill.tasks.data.opening import open_picture
from tests.deep_files import png_16

CLEAR_REFS = Path("/proc/self/clear_refs")
MIB = 2**20


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def picture() -> Image.Image:
    return open_picture(encoded(Image.new("RGB", (8, 8)), "PNG"))


def test_as_many_go_at_once_as_fit_and_no_more(picture: Image.Image) -> None:
    memory = DecodeMemory(64)
    lock = threading.Lock()
    held, most = 0, 0

    def hold(megabytes: int) -> None:
        nonlocal held, most
        with memory.room_for(megabytes * MIB, picture):
            with lock:
                held += megabytes
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= megabytes

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [20, 1, 30, 64, 5, 44, 64, 20, 20, 1] * 6))
    assert (held, most) == (0, 64)


def test_two_that_fit_together_go_together(picture: Image.Image) -> None:
    memory = DecodeMemory(64)
    both = threading.Barrier(2, timeout=60)

    def meet(_: int) -> None:
        with memory.room_for(32 * MIB, picture):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(meet, range(2)))


def test_a_large_image_is_not_passed_by_small_ones_for_ever(picture: Image.Image) -> None:
    memory = DecodeMemory(64)
    order: list[str] = []

    def take(name: str, megabytes: int) -> None:
        with memory.room_for(megabytes * MIB, picture):
            order.append(name)

    with memory.room_for(40 * MIB, picture):
        threads = []
        for name, megabytes in (("large", 60), ("small", 10)):  # the small one would fit at once
            threads.append(threading.Thread(target=take, args=(name, megabytes)))
            threads[-1].start()
            while len(memory._waiting) < len(threads):
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join(60)
    assert order == ["large", "small"]


def test_room_is_given_back_after_an_error(picture: Image.Image) -> None:
    memory = DecodeMemory(64)
    for _ in range(3):
        with pytest.raises(KeyError), memory.room_for(64 * MIB, picture):
            raise KeyError("broken")


def test_an_image_that_alone_needs_more_is_refused_before_it_is_decoded_with_the_settings_to_change() -> None:
    header_only = bytearray(encoded(Image.new("RGB", (8, 8)), "BMP"))
    header_only[18:26] = (9000).to_bytes(4, "little") * 2
    with pytest.raises(
        DecodeMemoryError,
        match=r"decoding 9000x9000 pixels \(BMP, RGB\) takes about \d+ MiB, and runtime.decode_memory_mb allows 64: "
        r"set runtime.decode_memory_mb=\d+, or have such images set aside with a smaller data.max_megapixels",
    ):
        decode_rgb(bytes(header_only), memory=DecodeMemory(64))


def test_a_small_file_of_many_pixels_is_counted_by_its_pixels() -> None:
    """79 megapixels of 16 bits in 0.15 MB: 2.1 GB, when whole images were converted by way of float64."""
    bomb = open_picture(png_16(np.zeros((1, 1), np.uint16)))
    bomb._size = (8888, 8888)
    assert 390e6 < bytes_to_decode(bomb) < 600e6


def test_every_image_within_the_default_limits_fits_alone() -> None:
    """JPEG 2000 with alpha takes most; the limits are 80 megapixels and 2048 MiB."""
    largest = open_picture(encoded(Image.new("RGBA", (8, 8)), "JPEG2000"))
    largest._size = (8944, 8944)
    assert largest.width * largest.height <= IngestConfig().max_megapixels * 1e6
    assert bytes_to_decode(largest) <= RuntimeConfig().decode_memory_mb * MIB


MEASURE = """
import io, json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.data.decode_memory import bytes_to_decode
from taskdistill.tasks.data.opening import FORMATS, open_picture
from tests.deep_files import png_16, tiff

SIDE = 1200

def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

small = np.random.default_rng(0).integers(0, 255, (SIDE // 8, SIDE // 8, 3), np.uint8)
picture = Image.fromarray(small).resize((SIDE, SIDE))
grey = np.asarray(picture.convert("L")).astype(np.uint16) * 16
colours = np.stack([grey] * 3, axis=-1)
exif = Image.Exif()
exif[0x0112] = 6
files = {
    "JPEG": encoded(picture, "JPEG"),
    "progressive JPEG": encoded(picture, "JPEG", progressive=True, subsampling=0),
    "turned JPEG": encoded(picture, "JPEG", exif=exif),
    "grey JPEG": encoded(picture.convert("L"), "JPEG"),
    "PNG": encoded(picture, "PNG", compress_level=1),
    "PNG with alpha": encoded(picture.convert("RGBA"), "PNG", compress_level=1),
    "palette": encoded(picture.convert("P"), "PNG", compress_level=1),
    "GIF": encoded(picture.convert("P"), "GIF"),
    "WebP": encoded(picture, "WEBP", method=0),
    "WebP without loss": encoded(picture, "WEBP", lossless=True, method=0, quality=0),
    "JPEG 2000": encoded(picture.crop((0, 0, SIDE, SIDE // 2)), "JPEG2000"),
    "TIFF in one strip": encoded(picture, "TIFF", compression="tiff_lzw", strip_size=2**30),
    "TIFF of 32 bits": tiff(grey.astype(np.int32)),
    "TIFF of floats": tiff(grey.astype(np.float32)),
    "16-bit grey PNG": png_16(grey),
    "16-bit PNG": png_16(colours),
    "16-bit TIFF": tiff(colours),
}
if "AVIF" in FORMATS:  # not with older versions of Pillow
    files["AVIF"] = encoded(picture, "AVIF", speed=10, subsampling="4:4:4")
decode_rgb(encoded(Image.new("RGB", (8, 8)), "PNG"))
found = {}
for name, data in files.items():
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with open_picture(data) as opened:
        expected = bytes_to_decode(opened)
    decode_rgb(data, Levels(0, 4095, 4095))
    found[name] = (peak() - before, expected)
print(json.dumps(found))
"""


MEASURE_TURNED = """
import io, json
from pathlib import Path
import numpy as np
from PIL import Image
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.data.decode_memory import bytes_to_decode
from taskdistill.tasks.data.opening import open_picture

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

def turned(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(file := io.BytesIO(), "JPEG", exif=exif)
    return file.getvalue()

large = Image.linear_gradient("L").convert("RGB").resize((3600, 2400))
files = {number: turned(large, number) for number in range(1, 9)}
del large
decode_rgb(turned(Image.new("RGB", (8, 8)), 6))
found = {}
for number, data in files.items():
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with open_picture(data) as opened:
        expected = bytes_to_decode(opened)
    decode_rgb(data)
    found[number] = (peak() - before, expected)
print(json.dumps(found))
"""


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="the kernel cannot measure the peak of a part of a run")
def test_a_large_jpeg_that_is_turned_takes_no_more_than_is_counted() -> None:
    """Of 8.6 megapixels: of small ones what is counted for strips hides a third array."""
    found = measured(MEASURE_TURNED)
    assert {name: numbers for name, numbers in found.items() if numbers[0] > numbers[1]} == {}


@pytest.mark.slow
@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="the kernel cannot measure the peak of a part of a run")
def test_decoding_takes_no_more_than_is_counted_and_not_much_less() -> None:
    found = measured(MEASURE)
    assert {name: numbers for name, numbers in found.items() if numbers[0] > numbers[1]} == {}
    assert {name: numbers for name, numbers in found.items() if numbers[0] < 0.3 * numbers[1]} == {}


def measured(program: str) -> dict[str, list[int]]:
    """Return what a program found of each image: bytes that decoding it took, and bytes that are counted for it.

    In a process of its own; large blocks go back to the system once they are freed, so each image is measured.
    """
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root,
        env=environment | {"PYTHONPATH": root},
    )  # fmt: skip
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found
