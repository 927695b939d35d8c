"""Datasets with masks through the command line, as people have them: what is wrong with one is said, and what only
looks wrong comes out right.
"""

import io
import math
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.experiment import Experiment
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Done, call, write_preset
from tests.flows.streets import SETTINGS
from tests.tasks.data.mask_files import HALVES, coloured, indexed, photograph, write_folders, write_masks

pytestmark = pytest.mark.usefixtures("bare_pictures")

Told = Callable[..., Done]

FOREIGN = [
    "teacher_training=foreign", "foreign_teacher.function=tests.foreign_nets:build_map",
    "foreign_teacher.pixels=uint8", "foreign_teacher.input_px=32",
]  # fmt: skip
"""Knows disc, frame and wedge."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a sound dataset of pictures 8 px a side; the networks see 32 px."""
    return write_folders(tmp_path / "data", counts=(5, 2, 2))


@pytest.fixture
def told(tmp_path: Path, store: ArtifactStore, folder: Path) -> Told:
    """Call a command of the command line on the dataset, with settings."""
    preset = write_preset(tmp_path / "streets.yaml", Experiment.model_validate(SETTINGS))

    def tell(*command: str, sets: Any = ()) -> Done:
        settings = [text for setting in (f"data.path={folder}", *sets) for text in ("--set", setting)]
        return call(store, *command, preset, *settings)

    return tell


def refused(done: Done) -> str:
    """Return the last thing that was said, of a command that failed."""
    assert done.code == 1
    return done.stderr.rpartition("error: ")[2]


# --- what `plan` knows from names ------------------------------------------------------------------------------------


def test_a_missing_mask_of_val_is_named_with_what_leaves_its_image_out(told: Told, folder: Path) -> None:
    (folder / "masks/val/0.png").unlink()
    said = refused(told("plan"))
    assert "1 image of val has no mask, such as 'images/val/0.jpg'" in said
    assert "--set data.left_out_images=[images/val/0.jpg]" in said
    assert told("plan", sets=["data.left_out_images=[images/val/0.jpg]"]).code == 0


def test_an_image_of_train_without_a_mask_teaches_without_labels_and_is_said(told: Told, folder: Path) -> None:
    (folder / "masks/train/0.png").unlink()
    done = told("plan", sets=["synthetic_images=unlabelled"])
    assert "train 4, val 2, test 2, unlabelled 1" in done.stdout
    assert "1 image of train has no mask, such as 'images/train/0.jpg'" in done.stdout
    assert "distill-unlabelled-seed0" in done.stdout


def test_masks_are_not_for_classes_of_whole_images(told: Told) -> None:
    assert "problem 'classification' gives each image one: set problem=segmen" in refused(
        told("plan", sets=["problem=classification"])
    )


# --- what a run finds before it decodes an image ----------------------------------------------------------------------

WIDE = Image.new("L", (8, 4))
SEE_THROUGH = Image.merge("LA", (Image.fromarray(HALVES), Image.fromarray(HALVES * 255)))
SMOOTHED = photograph(0, 40, 40)


@pytest.mark.parametrize(
    ("mask", "how", "words"),
    [
        (WIDE, {}, "it is 8x4 pixels, the upright image 8x8: they must be equal"),
        (Image.fromarray(HALVES), {"format": "JPEG"}, "it is JPEG, which may change the values of pixels"),
        (SEE_THROUGH, {}, "it has transparent pixels (LA), and which class they are is not known"),
        (Image.fromarray(HALVES * 9), {}, "it holds the value 9 (32 pixels), which stand for none"),
        (coloured(HALVES, {0: (1, 2, 3)}), {}, "hold colours, and data.labels 'classes.txt' gives the classes none"),
    ],
    ids=["another size", "JPEG", "alpha", "beyond the classes", "unknown colours"],
)
def test_a_mask_that_cannot_be_used_ends_the_run_with_its_name_and_the_reason(
    told: Told, folder: Path, mask: Image.Image, how: dict[str, str], words: str
) -> None:
    (folder / "classes.txt").write_text("left\nright\n")
    mask.save(folder / "masks/train/3.png", **how)
    said = refused(told("stage", "ingest", sets=["data.labels=classes.txt"]))
    assert "images/train/3.jpg" in said
    assert words in said


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Image.new("L", (8, 8), 255), "there is no class by the masks themselves"),
        (SMOOTHED, "more than 255 come from smoothing"),
        (Image.new("L", (8, 8), 1), "there is only 'class 1' by the masks themselves"),
    ],
    ids=["all ignored", "smoothed", "one class"],
)
def test_masks_that_teach_nothing_are_refused(told: Told, folder: Path, mask: Image.Image, words: str) -> None:
    write_folders(folder, mask, counts=(5, 2, 2))
    assert words in refused(told("stage", "ingest"))


def test_palettes_that_differ_are_refused_where_nothing_says_what_they_mean(told: Told, folder: Path) -> None:
    write_folders(folder, indexed(HALVES, {1: (255, 0, 0)}), counts=(5, 2, 2))
    write_masks(folder, ["masks/val/0.png"], indexed(HALVES, {1: (0, 255, 0)}))
    assert "the palettes of masks differ" in refused(told("stage", "ingest"))


def test_classes_that_train_has_not_are_refused_unless_they_are_named(told: Told, folder: Path) -> None:
    write_masks(folder, ["masks/val/0.png"], Image.fromarray(HALVES * 2))
    assert "'class 2' is in masks of val and in none of train" in refused(told("stage", "ingest"))
    (folder / "classes.txt").write_text("left\nright\nother\n")
    assert told("stage", "ingest", sets=["data.labels=classes.txt"]).code == 0


def test_16_bits_and_an_opaque_alpha_are_read_as_what_they_hold(
    told: Told, store: ArtifactStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(HALVES.astype(np.uint16)).save(folder / "masks/train/0.png")
    Image.merge("LA", (Image.fromarray(HALVES), Image.new("L", (8, 8), 255))).save(folder / "masks/train/1.png")
    done = told("stage", "ingest")
    images = ImageSet.open(store.path(ArtifactRef.parse(done.stdout.split()[0])))
    assert images.classes == ["class 0", "class 1"]
    for row in range(len(images)):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(images.mask(row) or b""))), HALVES)
    assert "1 mask has an alpha channel that is opaque; it is passed over" in caplog.messages


# --- networks and the disk -------------------------------------------------------------------------------------------


def test_a_patch_that_does_not_divide_the_picture_is_known_before_an_image_is_read(
    told: Told, store: ArtifactStore
) -> None:
    said = refused(told("run", sets=["teacher.input_px=36"]))
    assert "teacher.input_px is 36, which the cells of test_vit's map, 8 px each, do not fill: set it to 32 or" in said
    assert store.references() == []


def test_a_disk_that_is_too_small_is_known_before_an_image_is_read(
    told: Told, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 0, 10_000))
    said = refused(told("run"))
    assert "there is no room for this run" in said
    assert "TASKDISTILL_STORE name a folder on a larger disk" in said
    assert store.references() == []


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["foreign_teacher.function=tests.foreign_nets:build_function"],
         "gives (1, 3) for 1 images, and this problem wants logits [1, classes, h, w]"),
        ([], "no class of the foreign teacher has the name of a class of the task"),
        (["foreign_teacher.label_map={car: class 1}"], "label_map names ['car'], which the foreign teacher does not"),
        (["foreign_teacher.label_map={disc: car}"], "label_map leads to ['car'], which are no classes of the task"),
        (["foreign_teacher.classes=[a, b]"], "has 3 outputs and 2 names for them"),
    ],
    ids=["no map", "other names", "not its class", "not ours", "other number"],
)  # fmt: skip
def test_a_foreign_teacher_whose_classes_do_not_fit_is_refused_with_both_lists(
    told: Told, sets: list[str], words: str
) -> None:
    settings = [*FOREIGN, *sets]
    said = refused(told("run", sets=settings))  # before any image is read
    assert words in said
    if "function" not in "".join(sets):
        assert "disc, frame, wedge" in said or "a, b" in said
        assert "The task's: class 0, class 1" in said


def test_a_plan_says_when_a_foreign_teacher_is_tried(told: Told) -> None:
    done = told("plan", sets=FOREIGN)
    assert "The foreign teacher is not built by 'plan': 'run' shows it one image" in done.stdout
    assert "foreign teacher is not built" not in told("plan").stdout


def test_a_foreign_teacher_whose_answers_do_not_fit_the_masks_is_shown_by_a_table(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """It says of everything that it is the second class."""
    parts = [*FOREIGN, "foreign_teacher.function=tests.foreign_nets:build_parts", "foreign_teacher.classes=[b, a]",
             "foreign_teacher.label_map={b: class 1, a: class 0}"]  # fmt: skip
    assert told("stage", "ingest", sets=parts).code == 0
    assert told("stage", "precompute", sets=parts).code == 0
    (said,) = [text for text in caplog.messages if "foreign teacher" in text]
    assert "look at its input (foreign_teacher.pixels, channels, mean, std, input_px) and at the order of its" in said
    # Of 2 images of 32 x 32 pixels as it sees them half are of each class: all 1024 are called the second one.
    assert [line.split()[3:] for line in said.splitlines()[-2:]] == [["1024", ".", "100"]] * 2


# --- what only looks wrong -------------------------------------------------------------------------------------------


def scores(done: Done) -> dict[str, float]:
    assert done.code == 0, done.stderr
    return {
        row["model"]: row["value"] for row in done.json["scores"] if (row["split"], row["metric"]) == ("test", "miou")
    }


def write_stripes(folder: Path, name: str, height: int, width: int) -> None:
    """Write a picture with a mask of stripes."""
    photograph(0, height, width).save(folder / f"images/{name}.png")
    mask = (np.arange(height * width).reshape(height, width) // 3 % 2).astype(np.uint8)
    Image.fromarray(mask).save(folder / f"masks/{name}.png")


def test_images_of_8000_and_of_3_pixels_and_smaller_than_the_crop_are_learnt_from_and_scored(
    told: Told, folder: Path
) -> None:
    for split in ("train", "test"):
        write_stripes(folder, f"{split}/wide", 3, 8000)
        write_stripes(folder, f"{split}/narrow", 600, 3)
    photograph(9, 5, 5).save(folder / "images/train/bare.png")
    found = scores(told("run", "--json", sets=["synthetic_images=unlabelled"]))
    assert found.keys() == {
        "teacher probed", "student probed", "student finetuned", "student distilled", "student distilled +unlabelled",
    }  # fmt: skip
    assert all(0 <= value <= 1 for value in found.values())


def test_masks_that_are_mostly_ignored_and_images_of_one_class_make_no_score_nan(told: Told, folder: Path) -> None:
    ignored = [*(f"masks/train/{number}.png" for number in range(3)), "masks/val/0.png", "masks/test/0.png"]
    write_masks(folder, ignored, Image.new("L", (8, 8), 255))
    write_masks(folder, ["masks/train/3.png"], Image.new("L", (8, 8), 1))
    sets = ["training.batch_size=2", "training.loss=cross-entropy+dice", "training.class_weights=inverse-frequency"]
    found = scores(told("run", "--json", sets=sets))
    assert len(found) == 4
    assert not any(math.isnan(value) for value in found.values())
