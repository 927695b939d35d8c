"""Stage "ingest" and pixels: one scale for a set of deep images; images and classes that show nothing are named."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.image_set import INDEX, ImageSet, Levels
from taskdistill.storage.manifest import MANIFEST
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.batches import DecodedImages, check_levels
from taskdistill.tasks.data.decode_memory import DecodeMemoryError
from tests.conftest import Bench, Run
from tests.deep_files import png_16, png_chunk, tiff

SIDE = 16
TWELVE_BITS = 4095
CLASSES = {"night": 120, "dusk": 1200, "day": 3300}
"""Class -> its mean value of 12 bits."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def values_of(level: int, seed: int, highest: int = TWELVE_BITS) -> np.ndarray:
    """Noise about a level; the standard deviation is a twentieth of it."""
    noise = np.random.default_rng(seed).normal(level, level / 20, (SIDE, SIDE))
    return np.clip(noise, 0, highest).astype(np.uint16)


def write_set(folder: Path, encode: Callable[[np.ndarray], bytes], suffix: str) -> IngestConfig:
    """Write train, val and test of night, dusk and day, 4, 1 and 1 images each."""
    for split, seeds in (("train", range(4)), ("val", (10,)), ("test", (20,))):
        for name, level in CLASSES.items():
            (folder / split / name).mkdir(parents=True)
            for seed in seeds:
                (folder / split / name / f"{seed}{suffix}").write_bytes(encode(values_of(level, seed)))
    return IngestConfig(path=str(folder))


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


def with_significant_bits(values: np.ndarray) -> bytes:
    return png_16(values, png_chunk(b"sBIT", b"\x0c"))


def class_means(images: ImageSet) -> dict[str, float]:
    """Return the mean of the decoded pixels of each class."""
    decoded = DecodedImages(images, cache_mb=1)
    means = {}
    for label, name in enumerate(images.classes):
        rows = np.flatnonzero(images.labels == label)
        means[name] = float(np.mean([decoded.pixels(int(row)) for row in rows]))
    return means


@pytest.mark.parametrize(
    ("encode", "suffix", "levels"),
    [
        (png_16, ".png", Levels(0, 4095, 1)),
        (tiff, ".tif", Levels(0, 4095, 1)),
        (lambda values: tiff(values.astype(np.int32)), ".tif", Levels(0, 4095, 1)),
        (lambda values: png_16(np.stack([values] * 3, axis=-1)), ".png", Levels(0, 4095, 1)),
        (lambda values: tiff(np.stack([values] * 3, axis=-1), order=">"), ".tif", Levels(0, 4095, 1)),
        (lambda values: tiff((values / TWELVE_BITS).astype(np.float32)), ".tif", Levels(0, 255, 1)),
        (lambda values: b"P5\n16 16\n4095\n" + values.astype(">u2").tobytes(), ".pgm", Levels(0, 255, 1)),
    ],
    ids=["PNG", "TIFF", "32-bit TIFF", "PNG in colour", "TIFF in colour", "floats", "PGM"],
)
def test_the_darkest_class_stays_the_darkest_as_in_its_8_bit_copy(
    tmp_path: Path, run: Run, store: ArtifactStore, encode: Callable[[np.ndarray], bytes], suffix: str, levels: Levels
) -> None:
    deep = run(INGEST, write_set(tmp_path / "deep", encode, suffix))
    images = ImageSet.open(store.path(deep))
    assert images.levels == levels
    control = write_set(tmp_path / "8", lambda values: encoded((values / 4095 * 255).round().astype(np.uint8)), ".png")
    eight_bits = ImageSet.open(store.path(run(INGEST, control)))
    found, expected = class_means(images), class_means(eight_bits)
    assert all(abs(found[name] - expected[name]) < 0.5 for name in CLASSES)
    summary = store.manifest(deep).summary
    assert all(abs(summary["brightness"][name] - expected[name]) < 1 for name in CLASSES)


def test_a_depth_that_the_files_state_counts_where_no_image_reaches_it(
    tmp_path: Path, run: Run, store: ArtifactStore
) -> None:
    def dim(encode: Callable[[np.ndarray], bytes]) -> Callable[[np.ndarray], bytes]:
        return lambda values: encode(values // 16)

    for number, encode in enumerate((with_significant_bits, lambda values: tiff(values, t341=4095))):
        stated = run(INGEST, write_set(tmp_path / f"stated{number}", dim(encode), ".img"))
        assert ImageSet.open(store.path(stated)).levels == Levels(0, 4095, 1)
    plain = run(INGEST, write_set(tmp_path / "plain", dim(png_16), ".png"))
    assert ImageSet.open(store.path(plain)).levels == Levels(0, 255, 1)  # the largest value is 15 times 16


def test_images_that_use_all_16_bits_are_not_cut_by_the_significant_bits_they_state(
    tmp_path: Path, run: Run, store: ArtifactStore
) -> None:
    """As the standard has it, 12 bits are spread over 16: 4095 is written as 65535."""
    spread = write_set(tmp_path / "spread", lambda values: with_significant_bits(values * 16 + values // 256), ".png")
    images = ImageSet.open(store.path(run(INGEST, spread)))
    assert images.levels == Levels(0, 65535, 1)
    assert class_means(images)["day"] == pytest.approx(3300 / 4095 * 255, abs=1.5)


def test_white_and_black_can_be_stated_and_are_another_image_set(
    tmp_path: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    decided = write_set(tmp_path / "data", png_16, ".png")
    stated = decided.model_copy(update={"white_level": 2000.0, "black_level": 1000.0})
    ref = run(INGEST, stated)
    assert ref != run(INGEST, decided)
    images = ImageSet.open(store.path(ref))
    assert images.levels == Levels(1000, 2000, 2000)
    assert class_means(images) == {"day": 255, "dusk": pytest.approx(51, abs=3), "night": 0}
    assert "6 images hold values above data.white_level = 2000, all of which become white, such as" in caplog.text
    assert "images hold values below data.black_level = 1000, all of which become black, such as" in caplog.text


def test_the_scale_that_was_decided_is_said_with_the_image_that_decided_it(
    tmp_path: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_set(tmp_path / "data", png_16, ".png")
    bright = values_of(2000, 0)
    bright[3, 4] = 4001
    (tmp_path / "data/train/dusk/0.png").write_bytes(png_16(bright))
    summary = store.manifest(run(INGEST, config)).summary
    assert (
        "18 images hold integers of more than 8 bits: 0 becomes black and 4095 white, the least depth that holds the "
        "largest value, 4001 in train/dusk/0.png; data.black_level and data.white_level set others"
    ) in caplog.text
    assert summary["levels"] == {"black": 0.0, "white": 4095.0, "white_of_floats": 1.0}


def test_a_set_of_8_bits_has_the_index_it_always_had(tmp_path: Path, run: Run, store: ArtifactStore) -> None:
    config = write_set(tmp_path / "data", lambda values: encoded((values // 16).astype(np.uint8)), ".png")
    folder = store.path(run(INGEST, config))
    expected = {"images": 18, "splits": {"test": 3, "train": 12, "val": 3}, "classes": ["day", "dusk", "night"]}
    assert read_json(folder / INDEX) == expected | {"shards": [18]}
    assert ImageSet.open(folder).levels is None


def test_deep_images_in_a_set_of_an_earlier_version_are_refused_with_what_to_do(
    tmp_path: Path, run: Run, store: ArtifactStore
) -> None:
    folder = store.path(run(INGEST, write_set(tmp_path / "data", png_16, ".png")))
    index = read_json(folder / INDEX)
    del index["levels"]
    write_json(folder / INDEX, index)
    (folder / MANIFEST).unlink()  # which would tell that the index was changed
    refusal = (
        r"image 'test/day/20.png' has more than 8 bits a channel, and its image-set is of an earlier version.*"
        r"taskdistill discard image-set@\w+ --with-dependents"
    )
    with pytest.raises(CorruptArtifactError, match=refusal):
        DecodedImages(ImageSet.open(folder), cache_mb=0).pixels(0)
    with pytest.raises(CorruptArtifactError, match=refusal):  # which plan asks, as a finished run decodes nothing
        check_levels(ImageSet.open(folder))


def test_images_of_8_bits_in_a_set_of_an_earlier_version_stay_valid(bench: Bench) -> None:
    check_levels(ImageSet.open(bench.store.path(bench.images)))


def test_a_draft_of_an_earlier_version_is_looked_at_again(
    tmp_path: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its notes do not say what was seen of each image."""
    monkeypatch.setattr("taskdistill.tasks.stages.ingest.SHARD_ROWS", 6)
    config = write_set(tmp_path / "data", png_16, ".png")

    def stop(unit: str, done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(INGEST, config, on_progress=stop)
    (draft,) = store.drafts().values()
    for note in (draft / "notes").glob("0*.json"):
        write_json(note, [{key: file[key] for key in ("id", "sha256", "quarantined")} for file in read_json(note)])
    assert ImageSet.open(store.path(run(INGEST, config))).levels == Levels(0, 4095, 1)


# --- images that show nothing --------------------------------------------------------------------------------------


def grey_set(folder: Path, levels: dict[str, int], deviation: float) -> IngestConfig:
    """Write 8-bit images, 3 of each class for training and 1 in val and test, of noise about the class's level."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        for name, level in levels.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                noise = rng.normal(level, deviation, (SIDE, SIDE)).clip(0, 255).astype(np.uint8)
                (folder / split / name / f"{number}.png").write_bytes(encoded(noise))
    return IngestConfig(path=str(folder))


def test_images_of_a_single_colour_are_named_and_counted(
    folder: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    (folder / "train/dark/all.png").write_bytes(encoded(np.full((90, 90, 3), (9, 8, 7), np.uint8)))
    (folder / "train/dark/deep.png").write_bytes(png_16(np.full((9, 9), 300, np.uint16)))
    nearly = np.full((90, 90), 7, np.uint8)
    nearly[1, 1] = 200  # between the pixels that are looked at first
    (folder / "train/dark/nearly.png").write_bytes(encoded(nearly))
    summary = store.manifest(run(INGEST, config)).summary
    assert (summary["constant_images"], summary["constant_first"]) == (2, ["train/dark/all.png", "train/dark/deep.png"])
    assert "2 images are of a single colour, such as ['train/dark/all.png', 'train/dark/deep.png']" in caplog.text


def test_a_class_of_which_every_image_is_nearly_of_one_shade_is_named_with_its_brightness(
    folder: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    for split in ("train", "val", "test"):
        (folder / split / "black").mkdir()
        for side in (8, 9):
            (folder / split / "black" / f"{side}.png").write_bytes(encoded(np.full((side, side), 3, np.uint8)))
    run(INGEST, config)
    assert "in 1 of 3 classes every image is nearly of one shade: 'black' (brightness 3 of 255)" in caplog.text
    assert "half of the images" not in caplog.text


def test_a_set_that_uses_little_of_the_range_is_said(
    folder: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One saturated image makes white of 16 bits what the others have 12 bits of."""
    config = write_set(folder, lambda values: png_16(values // 4), ".png")
    (folder / "train/day/hot.png").write_bytes(png_16(np.asarray([[65535, 0]], np.uint16)))
    run(INGEST, config)
    assert "65535 white, the least depth that holds the largest value, 65535 in train/day/hot.png" in caplog.text
    assert "half of the images use fewer than 16 of 255 grey levels" in caplog.text


def test_a_sound_set_is_not_warned_of(
    folder: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        summary = store.manifest(run(INGEST, grey_set(folder, {"dark": 51, "mid": 128, "light": 204}, 12))).summary
    assert [record.message for record in caplog.records if "standard error" not in record.message] == []
    assert summary["brightness"] == {
        "dark": pytest.approx(50.5, abs=1), "light": pytest.approx(203.5, abs=1), "mid": pytest.approx(127.5, abs=1)
    }  # fmt: skip
    assert summary["constant_images"] == 0
    assert "levels" not in summary


# --- files of all kinds --------------------------------------------------------------------------------------------


def test_an_image_that_needs_more_memory_than_stated_stops_the_ingest_and_is_named(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    """It is not set aside: how much memory a machine has must not decide what is in an artifact."""
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    (folder / "train/dark/large.png").write_bytes(encoded(np.zeros((4100, 4100), np.uint8)))
    with pytest.raises(
        DecodeMemoryError, match=r"train/dark/large.png: decoding 4100x4100 .*runtime.decode_memory_mb="
    ):
        run(INGEST, config, decode_memory_mb=64)
    assert "train/dark/large.png" in ImageSet.open(store.path(run(INGEST, config, decode_memory_mb=256))).ids


def test_a_folder_of_lfs_pointers_says_how_to_get_the_images(folder: Path, run: Run) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    for file in folder.rglob("*.png"):
        file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    with pytest.raises(ValueError, match=r"at least 10 files are pointers of Git LFS.*run 'git lfs pull'"):
        run(INGEST, config)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged EXIF
@pytest.mark.parametrize(
    "block",
    [b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0", b"Exif\0\0", b"Exif\0\0b'Exif\\x00\\x00MM"],
    ids=["the header twice", "empty", "text"],
)
def test_a_sound_picture_whose_exif_block_is_malformed_is_kept(
    folder: Path, run: Run, store: ArtifactStore, block: bytes
) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    picture = encoded(np.full((8, 8), 100, np.uint8), "JPEG")
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    (folder / "train/dark/exif.jpg").write_bytes(picture[:2] + segment + picture[2:])
    images = ImageSet.open(store.path(run(INGEST, config)))
    row = images.ids.index("train/dark/exif.jpg")
    assert DecodedImages(images, cache_mb=0).pixels(row)[4, 4].tolist() == pytest.approx([100] * 3, abs=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3000, 20), (2, 3)])
def test_pictures_of_extreme_shapes_are_kept(
    folder: Path, run: Run, store: ArtifactStore, size: tuple[int, int]
) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    (folder / "train/dark/odd.png").write_bytes(encoded(np.zeros(size, np.uint8)))
    images = ImageSet.open(store.path(run(INGEST, config)))
    row = images.ids.index("train/dark/odd.png")
    assert (images.heights[row], images.widths[row]) == size
    assert DecodedImages(images, cache_mb=0).pixels(row).shape == (*size, 3)


def test_one_broken_picture_of_100_is_set_aside_and_the_run_goes_on(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    config = grey_set(folder, {"dark": 51, "light": 204}, 12)
    for number in range(100):
        (folder / f"train/dark/more{number}.png").write_bytes(encoded(np.full((4, 4), number, np.uint8)))
    (folder / "train/dark/more7.png").write_bytes(encoded(np.zeros((40, 40), np.uint8))[:-30])
    summary = store.manifest(run(INGEST, config)).summary
    assert (summary["images"], summary["quarantined"]) == (109, 1)
    assert "damaged" in summary["quarantined_first"]["train/dark/more7.png"]
