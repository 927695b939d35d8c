"""Stage "ingest" of masks: what they become in the image-set, what is counted and said, what is refused."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.class_weights import median_frequency_weights, pixels_of_classes
from taskdistill.tasks.miniature.dataset import write_dataset
from taskdistill.tasks.miniature.world import PARTS
from taskdistill.tasks.problems.palette import colours_of, known_colours
from taskdistill.tasks.problems.segmentation import Segmentation
from tests.conftest import Run
from tests.tasks.data.mask_files import (
    HALVES,
    coloured,
    indexed,
    photograph,
    write_folders,
    write_masks,
    write_pictures,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the dataset: the store lies beside it."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


Ingested = Callable[..., tuple[ImageSet, IngestSummary]]


@pytest.fixture
def ingested(run: Run, store: ArtifactStore) -> Ingested:
    def ingest(folder: Path, **settings: Any) -> tuple[ImageSet, IngestSummary]:
        ref: ArtifactRef = run(INGEST, IngestConfig(path=str(folder), **({"form": "masks"} | settings)))
        return ImageSet.open(store.path(ref)), IngestSummary.of(store.manifest(ref))

    return ingest


def mask_of(images: ImageSet, name: str) -> np.ndarray:
    data = images.mask(images.ids.index(name))
    assert data
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.mode) == ("PNG", "L")
    return np.asarray(picture)


FIRST = "images/train/0.jpg"
SKY_AND_ROAD = "name,value,red,green,blue\nroad,7,128,64,128\nsky,0,70,130,180\n,3,9,9,9\n"
"""The first class has the larger number, and 3 is ignored."""
THREE = np.where(np.arange(64).reshape(8, 8) < 8, 3, HALVES * 7).astype(np.uint8)
"""One line that is ignored, then half sky and half road."""
OWN_COLOURS = {7: (128, 64, 128), 0: (70, 130, 180), 3: (9, 9, 9)}
MASKS = {
    "grey": Image.fromarray(THREE),
    "16 bits": Image.fromarray(THREE.astype(np.uint16)),
    "grey in three channels": Image.fromarray(np.stack([THREE] * 3, axis=-1)),
    "colours": coloured(THREE, OWN_COLOURS),
    "colours with opaque alpha": coloured(THREE, OWN_COLOURS).convert("RGBA"),
    "palette in the order of the numbers": indexed(THREE, OWN_COLOURS),
    "palette of other colours": indexed(THREE, {}),
    "palette in another order": coloured(THREE, OWN_COLOURS).quantize(4, dither=Image.Dither.NONE),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_whatever_stands_for_the_classes_becomes_their_numbers(
    folder: Path, ingested: Ingested, mask: Image.Image
) -> None:
    (folder / "classes.csv").write_text(SKY_AND_ROAD)
    images, _ = ingested(write_folders(folder, mask), labels="classes.csv")
    assert images.classes == ["road", "sky"]
    expected = np.where(THREE == 3, 255, np.where(THREE == 7, 0, 1))
    np.testing.assert_array_equal(mask_of(images, FIRST), expected)
    assert (images.labels == -1).all()


def test_a_mask_that_is_canonical_already_is_kept_byte_for_byte(folder: Path, ingested: Ingested) -> None:
    images, _ = ingested(write_folders(folder))
    assert images.mask(images.ids.index(FIRST)) == (folder / "masks/train/0.png").read_bytes()


def test_pixels_and_images_of_each_class_are_counted_and_logged(
    folder: Path, ingested: Ingested, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (folder / "classes.csv").write_text(SKY_AND_ROAD)
    write_folders(folder, Image.fromarray(THREE), counts=(3, 1, 1))
    write_masks(folder, ["masks/train/2.png"], Image.new("L", (8, 8), 7))
    _, summary = ingested(folder, labels="classes.csv")
    assert summary.pixels == {
        "road": {"train": 28 + 28 + 64, "val": 28, "test": 28}, "sky": {"train": 56, "val": 28, "test": 28}
    }  # fmt: skip
    assert summary.counts == {"road": {"train": 3, "val": 1, "test": 1}, "sky": {"train": 2, "val": 1, "test": 1}}
    assert summary.pixels_of_images == {
        "road": {"train": 56 + 56 + 64, "val": 56, "test": 56}, "sky": {"train": 56 + 56, "val": 56, "test": 56}
    }  # fmt: skip
    assert summary.ignored_pixels == {"train": 16, "val": 8, "test": 8}
    assert "road: 68.18% of the pixels of train; images train 3, val 1, test 1" in caplog.messages
    assert any(line.startswith("  road") and "train 3" in line for line in dataset_words(summary))


def test_weights_of_classes_go_by_what_was_counted_and_no_mask_is_read_again(
    folder: Path, ingested: Ingested, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folders(folder, Image.fromarray(THREE), counts=(3, 1, 1))
    write_masks(folder, ["masks/train/2.png"], Image.new("L", (8, 8), 7))
    write_masks(folder, ["masks/train/1.png"], Image.new("L", (8, 8), 255))
    images, _ = ingested(folder, ignored_values=(3,))
    masks = [mask_of(images, images.ids[row]) for row in images.rows_of("train").tolist()]
    expected = median_frequency_weights(pixels_of_classes(masks, 2))
    training = TrainingSettings(class_weights="inverse-frequency")
    monkeypatch.setattr(ImageSet, "mask", None)
    weighted = Segmentation().for_training(training, images)
    assert [float(weighted.num_targets(torch.tensor([[[number]]]))) for number in range(2)] == expected.tolist()
    (images.folder / "manifest.json").unlink()
    with pytest.raises(TypeError):  # of a set in which nothing was noted masks are read
        Segmentation().for_training(training, images)


def test_blue_is_no_number_255(folder: Path, ingested: Ingested) -> None:
    """Of masks in black and blue it was said that 255 is read as the second class."""
    (folder / "classes.csv").write_text("name,red,green,blue\nland,0,0,0\nwater,0,0,255\n")
    write_folders(folder, coloured(HALVES, {0: (0, 0, 0), 1: (0, 0, 255)}))
    images, summary = ingested(folder, labels="classes.csv")
    assert mask_of(images, FIRST).tolist() == HALVES.tolist()
    assert not any("255" in line for line in summary.said)


RED, BLUE = (200, 0, 0), (0, 0, 200)
NO_COLOURS = "name,value\nleft,0\nright,1\n"


@pytest.mark.parametrize(
    ("mask", "labels", "colours"),
    [
        (Image.fromarray(HALVES), "name,value,red,green,blue\nleft,0,200,0,0\nright,1,0,0,200\n", [RED, BLUE]),
        (indexed(HALVES, {0: RED, 1: BLUE, 7: RED}), NO_COLOURS, [RED, BLUE]),
        (indexed(HALVES, {0: RED, 1: BLUE}), "", [RED, BLUE]),
        (coloured(HALVES, {0: RED, 1: BLUE}), "", [BLUE, RED]),
        (Image.fromarray(HALVES), NO_COLOURS, None),
        (indexed(HALVES, {}), NO_COLOURS, None),  # black both
        (indexed(HALVES, {0: RED, 1: BLUE}), NO_COLOURS + "nowhere,2\n", None),
    ],
    ids=[
        "labels",
        "palette",
        "palette, no names",
        "colours",
        "grey",
        "palette that is not filled in",
        "a class is nowhere",
    ],
)
def test_the_colours_of_classes_are_noted_for_pictures(
    folder: Path, ingested: Ingested, mask: Image.Image, labels: str, colours: list[tuple[int, int, int]] | None
) -> None:
    (folder / "classes.csv").write_text(labels)
    images, _ = ingested(write_folders(folder, mask), labels="classes.csv" if labels else "")
    found = known_colours(images, images.classes)
    assert (None if found is None else list(map(tuple, found.tolist()))) == colours
    assert known_colours(images, ["another"]) is None
    handed_over = colours_of(images.folder, images.classes)
    # Where none are known, hues by the golden share of a turn, in tones by turns: from the standard library's colorsys.
    in_order = [(242, 61, 61), (8, 50, 153), (176, 217, 119)][: len(images.classes)]
    assert [tuple(colour) for colour in handed_over.tolist()] == (colours or in_order)


def test_classes_that_nothing_names_are_found_and_said(folder: Path, ingested: Ingested) -> None:
    images, summary = ingested(write_folders(folder, Image.fromarray(HALVES * 3 + 2)))
    assert images.classes == ["class 2", "class 5"]
    assert mask_of(images, FIRST)[0].tolist() == [0] * 4 + [1] * 4
    assert any("nothing names the classes, so they are the 2 that the masks hold" in line for line in summary.said)


def test_colours_that_nothing_names_are_classes_too(folder: Path, ingested: Ingested) -> None:
    mask = coloured(HALVES, {0: (255, 0, 0), 1: (0, 0, 128)})
    images, _ = ingested(write_folders(folder, mask))
    assert images.classes == ["class #000080", "class #ff0000"]
    assert mask_of(images, FIRST)[0].tolist() == [1] * 4 + [0] * 4


def test_masks_of_black_and_white_have_two_classes(folder: Path, ingested: Ingested) -> None:
    write_folders(folder, Image.fromarray(HALVES * 255))
    images, _ = ingested(folder)
    assert images.classes == ["class 0", "class 255"]
    (folder / "classes.txt").write_text("nothing\nthing\n")
    named, summary = ingested(folder, labels="classes.txt")
    assert mask_of(named, FIRST)[0].tolist() == [0] * 4 + [1] * 4
    assert "the masks hold 0 and 255 alone: 255 is read as 'thing', not as what is ignored" in summary.said


def test_masks_that_seem_to_count_from_another_number_are_learnt_with_a_remark(
    folder: Path, ingested: Ingested, caplog: pytest.LogCaptureFixture
) -> None:
    images, summary = ingested(write_folders(folder, Image.fromarray(HALVES + 1)), labels="camvid")
    assert mask_of(images, FIRST)[0, 0] == 1
    (said,) = [line for line in summary.said if line.startswith("no mask holds 0, which is 'sky' by data.labels")]
    assert said in caplog.messages


def test_values_to_ignore_are_a_setting_and_names_count_through_the_others(folder: Path, ingested: Ingested) -> None:
    write_folders(folder, Image.fromarray(np.where(THREE == 3, 0, np.where(THREE == 7, 2, 1)).astype(np.uint8)))
    (folder / "classes.txt").write_text("sky\nroad\n")
    images, _ = ingested(folder, labels="classes.txt", ignored_values=(0,))
    np.testing.assert_array_equal(mask_of(images, FIRST), np.where(THREE == 3, 255, np.where(THREE == 7, 1, 0)))


def test_images_without_a_mask_are_rows_of_the_split_unlabelled(folder: Path, ingested: Ingested) -> None:
    write_folders(folder)
    write_pictures(folder, ["images/train/bare.jpg"])
    images, summary = ingested(folder)
    row = images.ids.index("images/train/bare.jpg")
    assert (images.splits[row], images.labels[row], images.mask(row)) == ("unlabelled", -1, None)
    assert summary.splits == {"train": 3, "val": 1, "test": 1, "unlabelled": 1}


# --- tables --------------------------------------------------------------------------------------------------------


def table_of(folder: Path, header: str, line: str) -> dict[str, Any]:
    """Write a table of the folders' pictures; returns the settings that read it."""
    names = sorted(path.relative_to(folder / "images").with_suffix("") for path in (folder / "images").rglob("*.jpg"))
    rows = [line.format(name=name.as_posix(), split=name.parts[0], number=name.name) for name in names]
    (folder / "table.csv").write_text("\n".join([header, *rows]) + "\n")
    return {"form": "table", "table": "table.csv"}


def test_a_table_of_images_and_masks_needs_no_labels(folder: Path, ingested: Ingested) -> None:
    write_folders(folder)
    settings = table_of(folder, "path,mask,split", "images/{name}.jpg,masks/{name}.png,{split}")
    with (folder / "table.csv").open("a") as table:
        write_pictures(folder, ["images/bare.jpg", "images/other.jpg"])
        table.write("images/bare.jpg,,train\nimages/other.jpg,,unlabelled\n")
    images, summary = ingested(folder, **settings)
    assert images.classes == ["class 0", "class 1"]
    assert summary.splits == {"train": 3, "val": 1, "test": 1, "unlabelled": 2}


def test_labels_of_a_table_are_learnt_unless_it_is_said_what_its_masks_mean(folder: Path, ingested: Ingested) -> None:
    write_folders(folder, counts=(4, 2, 2))
    settings = table_of(folder, "path,label,mask,split", "images/{name}.jpg,kind {number},masks/{name}.png,{split}")
    text = (folder / "table.csv").read_text().replace("kind 2", "kind 0").replace("kind 3", "kind 1")
    (folder / "table.csv").write_text(text)
    of_labels, _ = ingested(folder, **settings)
    assert of_labels.classes == ["kind 0", "kind 1"]
    of_masks, _ = ingested(folder, **settings, labels="found")
    assert of_masks.classes == ["class 0", "class 1"]
    assert (of_masks.labels == -1).all()


def test_the_parts_of_birds_are_learnt_from_the_table_of_the_miniature(folder: Path, ingested: Ingested) -> None:
    write_dataset(folder, seed=0, train_per_class=2, val_per_class=1, test_per_class=1)
    images, summary = ingested(folder, form="table", table="images.csv", labels="bird-parts")
    assert images.classes == list(PARTS)
    assert images.mask(0) == (folder / images.ids[0].replace("images", "masks", 1)).read_bytes()
    assert summary.pixels
    assert sum(of_split["val"] for of_split in summary.pixels.values()) == 25 * 64 * 64


# --- bad input -----------------------------------------------------------------------------------------------------


def spoilt(folder: Path, mask: Image.Image, **how: Any) -> Path:
    """Write 60 sound pairs, one of them with this mask in place of its own."""
    write_folders(folder, counts=(50, 5, 5))
    mask.save(folder / "masks/train/7.png", **how)
    return folder


@pytest.mark.parametrize(
    ("mask", "how", "reason"),
    [
        (Image.fromarray(HALVES), {"format": "JPEG"}, "its mask 7.png: it is JPEG, which may change the values"),
        (Image.new("L", (8, 4)), {}, "its mask 7.png: it is 8x4 pixels, the upright image 8x8: they must be equal"),
        (
            Image.fromarray(HALVES * 9), {},
            "its mask 7.png: it holds the value 9 (32 pixels), which stand for none or for several of the 2 classes of "
            "data.labels 'classes.txt'",
        ),
    ],
    ids=["JPEG", "another size", "beyond the classes"],
)  # fmt: skip
def test_an_image_whose_mask_cannot_be_used_is_set_aside_and_named(
    folder: Path, run: Run, store: ArtifactStore, mask: Image.Image, how: Any, reason: str
) -> None:
    (folder / "classes.txt").write_text("left\nright\n")
    ref = run(INGEST, IngestConfig(path=str(spoilt(folder, mask, **how)), form="masks", labels="classes.txt"))
    set_aside = {row["id"]: row["quarantined"] for row in read_table(store.path(ref) / "files.parquet")}
    assert {name for name, why in set_aside.items() if why} == {"images/train/7.jpg"}
    assert reason in set_aside["images/train/7.jpg"]


@pytest.mark.parametrize(
    ("mask", "labels", "message"),
    [
        (
            Image.fromarray(HALVES + 20),
            "camvid",
            "5 of 5 masks cannot be used.*images/test/0.jpg: its mask 0.png: it hol",
        ),
        (coloured(HALVES, {0: (1, 2, 3)}), "camvid", r"the colour \(1, 2, 3\) \(32 pixels\), .*data.labels 'camvid'"),
        (
            coloured(HALVES, {0: (1, 2, 3)}),
            "classes.txt",
            "hold colours, and data.labels 'classes.txt' gives the classes",
        ),
        (photograph(0, 40, 40), "found", "the masks hold 16.. colours, .* more than 255 come from smoothing"),
        (Image.new("L", (8, 8), 3), "found", "there is only 'class 3' by the masks themselves, beside what is ignored"),
        (Image.new("L", (8, 8), 1), "camvid", "the masks of train hold one class alone, 'building'"),
        (
            Image.fromarray(HALVES.astype(np.uint16) * 257 * 7), "camvid",
            "the value 1799 .*The numbers are those of the classes times 257.*divide them by 257.*Correct them",
        ),
        (Image.fromarray(HALVES * 255), "camvid", "one class alone, 'sky'.*They hold 0 and 255 alone, and 255 is ign"),
        (Image.new("L", (8, 8), 11), "camvid", "all 3 masks of train are ignored throughout, such as that of"),
    ],
    ids=[
        "beyond the classes", "unknown colour", "no colours", "smoothed", "one value", "one class", "times 257",
        "black and white", "all ignored",
    ],
)  # fmt: skip
def test_masks_that_cannot_be_learnt_are_refused_before_images_are_decoded(
    folder: Path, ingested: Ingested, store: ArtifactStore, mask: Image.Image, labels: str, message: str
) -> None:
    (folder / "classes.txt").write_text("left\nright\n")
    with pytest.raises(DatasetError, match=message):
        ingested(write_folders(folder, mask), labels=labels)
    assert not store.references()
    assert not list(store.root.rglob("shards/*"))


def test_classes_that_a_split_lacks_are_warned_of_where_they_are_named(folder: Path, ingested: Ingested) -> None:
    (folder / "classes.txt").write_text("left\nright\nother\n")
    write_folders(folder)
    write_masks(folder, ["masks/val/0.png"], Image.fromarray(HALVES * 2))
    write_masks(folder, ["masks/train/2.png"], Image.new("L", (8, 8), 255))
    _, summary = ingested(folder, labels="classes.txt")
    assert "train has no pixel of 1 of 3 classes, so they cannot be learnt: 'other'" in summary.said
    assert "val has no pixel of 1 of 3 classes, so no score tells of them: 'right'" in summary.said
    ignored = "1 mask is ignored throughout, and nothing is learnt there, such as that of 'images/train/2.jpg'"
    assert ignored in summary.said
    with pytest.raises(DatasetError, match=r"'class 2' is in masks of val and in none of train.*lists of classes"):
        ingested(folder)
    # Of few images those for training may lack a class by chance.
    _, summary = ingested(folder, max_images=2)
    assert any("so they cannot be learnt: 'class 2'" in sentence for sentence in summary.said)


def test_a_test_split_of_placeholders_is_refused_with_how_to_leave_it_out(folder: Path, ingested: Ingested) -> None:
    write_folders(folder, counts=(9, 3, 2))
    write_masks(folder, [f"masks/test/{number}.png" for number in range(2)], Image.new("L", (8, 8), 255))
    with pytest.raises(DatasetError, match=r"all 2 masks of test are ignored .*left_out_images=\[images/test/\*\]"):
        ingested(folder)
    images, _ = ingested(folder, left_out_images=("images/test/*",))
    assert len(images) == 12


def test_palettes_that_differ_are_refused_where_nothing_says_what_they_mean(folder: Path, ingested: Ingested) -> None:
    write_folders(folder, indexed(HALVES, {1: (255, 0, 0)}))
    write_masks(folder, ["masks/val/0.png"], indexed(HALVES, {1: (0, 255, 0)}))
    with pytest.raises(DatasetError, match=r"the palettes of masks differ: 1 is \(.*\) in that of 'images/.*"):
        ingested(folder)


def test_an_image_8000_pixels_wide_and_one_3_pixels_wide_keep_their_masks(folder: Path, ingested: Ingested) -> None:
    write_folders(folder)
    for name, width in (("wide", 8000), ("narrow", 3)):
        photograph(0, 2, width).save(folder / f"images/train/{name}.png")
        mask = np.arange(2 * width).reshape(2, width) % 2
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"masks/train/{name}.png")
    images, _ = ingested(folder)
    assert mask_of(images, "images/train/wide.png").shape == (2, 8000)
    assert mask_of(images, "images/train/narrow.png").tolist() == [[0, 1, 0], [1, 0, 1]]
