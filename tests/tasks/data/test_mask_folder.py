"""Dataset form "masks": the layouts people have, which mask is whose, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError
from taskdistill.tasks.data.dataset import Dataset, open_dataset
from taskdistill.tasks.data.label_tables import CAMVID, CITYSCAPES, CITYSCAPES_IDS, VOC
from tests.tasks.data.mask_files import write_folders, write_masks, write_pictures


def config(folder: Path, **settings: Any) -> IngestConfig:
    return IngestConfig(form="masks", path=str(folder), **settings)


def pairs_of(folder: Path, candidates: Sequence[Candidate]) -> set[tuple[str, str, str]]:
    """Return the image, mask and split of each."""
    return {(one.id, one.mask.relative_to(folder).as_posix() if one.mask else "", one.split) for one in candidates}


def laid_out(folder: Path, pairs: dict[str, str], **settings: Any) -> Dataset:
    """Write pairs image -> mask, and read them."""
    write_pictures(folder, pairs)
    write_masks(folder, filter(None, pairs.values()))
    return open_dataset(config(folder, **settings))


SPLITS = ("train", "val", "test")
LAYOUTS = {
    "images and masks above the splits": ("images/{}/{}.jpg", "masks/{}/{}.png", SPLITS),
    "splits above images and masks": ("{}/Images/{}.jpg", "{}/Masks/{}.png", ("Train", "Valid", "test")),
    "folders of mmsegmentation": ("img_dir/{}/{}.jpg", "ann_dir/{}/{}.png", SPLITS),
    "masks with an ending": ("images/{}/{}.jpg", "labels/{}/{}_mask.png", SPLITS),
    "COCO-Stuff": ("images/{}/{}.jpg", "annotations/{}/{}_labelTrainIds.png", ("train2017", "val2017", "test2017")),
    "ADE20K": ("images/{}/{}.jpg", "annotations/{}/{}.png", ("training", "validation", "testing")),
    "folders below the splits": ("images/{}/a/{}.jpg", "masks/{}/a/{}.png", SPLITS),
    "CamVid": ("{}/{}.png", "{}annot/{}.png", SPLITS),
    "Cityscapes": (
        "leftImg8bit/{}/bonn/{}_leftImg8bit.png", "gtFine/{}/bonn/{}_gtFine_labelTrainIds.png", SPLITS,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("image", "mask", "words"), LAYOUTS.values(), ids=LAYOUTS)
def test_each_image_has_the_mask_of_its_name_and_the_split_of_its_folder(
    tmp_path: Path, image: str, mask: str, words: Sequence[str]
) -> None:
    pairs = {
        image.format(word, name): mask.format(word, name)
        for word, names in zip(words, ("abcd", "e", "ad"), strict=True)
        for name in names
    }
    found = laid_out(tmp_path, pairs)
    split_of = dict(zip(words, SPLITS, strict=True))
    expected = {(one, pairs[one], split_of[next(word for word in words if word in one)]) for one in pairs}
    assert pairs_of(tmp_path, found.candidates) == expected
    assert not found.left_out
    assert not found.made_splits


def test_without_folders_of_splits_the_splits_are_made(tmp_path: Path) -> None:
    found = laid_out(tmp_path, {f"images/{number}.jpg": f"masks/{number}.png" for number in range(40)})
    assert len(found.made_splits) == 2
    assert found.summary().splits.keys() == set(SPLITS)


@pytest.mark.parametrize(("ending", "labels"), [("labelIds", CITYSCAPES_IDS), ("labelTrainIds", CITYSCAPES)])
def test_cityscapes_numbers_are_those_that_the_names_of_masks_say(tmp_path: Path, ending: str, labels: object) -> None:
    names = [f"{split}/bonn/{number}" for split in SPLITS for number in range(3)]
    write_pictures(tmp_path, [f"leftImg8bit/{name}_leftImg8bit.png" for name in names])
    for other in ("color", "instanceIds", ending):
        write_masks(tmp_path, [f"gtFine/{name}_gtFine_{other}.png" for name in names])
    found = open_dataset(config(tmp_path))
    assert found.labels == labels
    assert found.summary().left_out == {"mask of no image": 18}


def test_voc_reads_its_lists_and_leaves_out_what_is_in_none(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"JPEGImages/{number}.jpg" for number in range(9)])
    write_masks(tmp_path, [f"SegmentationClass/{number}.png" for number in range(8)])
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name, text in {
        "train": "0\n1\n2\n3\n",
        "val": "4\n5\n",
        "trainval": "0\n1\n2\n3\n4\n5\n",
        "test": "6\n",
    }.items():
        (lists / f"{name}.txt").write_text(text)
    found = open_dataset(config(tmp_path))
    assert found.labels == VOC
    assert found.summary().splits == {"train": 4, "val": 2, "test": 1}
    assert {(one.path, one.reason) for one in found.left_out} >= {
        ("JPEGImages/7.jpg", "in no list of images"), ("SegmentationClass/7.png", "mask of no image"),
    }  # fmt: skip


def test_a_list_that_names_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["JPEGImages/0.jpg"])
    write_masks(tmp_path, ["SegmentationClass/0.png"])
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("0\n2007_000032\n")
    with pytest.raises(DatasetError, match=r"1 of 2 images that the lists in .* name are not in .*'2007_000032'"):
        open_dataset(config(tmp_path))


def write_voc(folder: Path, train: bytes) -> None:
    write_pictures(folder, [f"JPEGImages/{name}.jpg" for name in "abcdef"])
    write_masks(folder, [f"SegmentationClass/{name}.png" for name in "abcdef"])
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/train.txt").write_bytes(train)


def test_a_list_of_voc_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    write_voc(tmp_path, b"\xef\xbb\xbfa\r\nb\r\nc\r\nd\r\ne\r\nf\r\n")
    assert len(open_dataset(config(tmp_path)).candidates) == 6


def test_a_list_of_voc_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, "a\nbäume\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"train\.txt is not UTF-8: save it as UTF-8"):
        open_dataset(config(tmp_path))


def test_ade20k_brings_its_names_and_ignores_0(tmp_path: Path) -> None:
    names = [f"{split}/{number}" for split in ("training", "validation") for number in range(6)]
    write_pictures(tmp_path, [f"images/{name}.jpg" for name in names])
    write_masks(tmp_path, [f"annotations/{name}.png" for name in names])
    (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tName\n1\t0.2\twall\n2\t0.1\tsky\n")
    found = open_dataset(config(tmp_path))
    assert found.classes == ["wall", "sky"]
    assert found.labels
    assert found.labels.ignored == (0,)


def test_camvid_has_its_classes_and_a_folder_of_unlabelled_frames(tmp_path: Path) -> None:
    pairs = {f"{split}/{number}.png": f"{split}annot/{number}.png" for split in SPLITS for number in range(3)}
    found = laid_out(tmp_path, pairs | {"unlabelled/9.jpg": "", "unlabelled/8.jpg": ""})
    assert found.classes == list(CAMVID.names)
    assert found.summary().splits == {"train": 3, "val": 3, "test": 3, "unlabelled": 2}
    assert "2 images are named unlabelled: no training on labels reads them" in found.said


def test_names_of_the_settings_go_before_those_of_the_layout(tmp_path: Path) -> None:
    pairs = {f"{split}/{number}.png": f"{split}annot/{number}.png" for split in SPLITS for number in range(3)}
    (tmp_path / "classes.txt").write_text("left\nright\n")
    found = laid_out(tmp_path, pairs, labels="classes.txt")
    assert found.classes == ["left", "right"]
    assert not any("CamVid" in sentence for sentence in found.said)


def test_images_of_train_without_a_mask_are_unlabelled_and_said(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write_pictures(tmp_path, ["images/train/bare.jpg", "images/train/other.jpg"])
    found = open_dataset(config(tmp_path))
    assert found.summary().splits == {"train": 3, "val": 1, "test": 1, "unlabelled": 2}
    (said,) = [sentence for sentence in found.said if "have no mask" in sentence]
    assert said.startswith("2 images of train have no mask, such as 'images/train/bare.jpg'")


def test_a_train_split_without_any_mask_is_refused_as_such(tmp_path: Path) -> None:
    write_folders(tmp_path)
    for mask in (tmp_path / "masks/train").iterdir():
        mask.rename(mask.with_stem(f"label-of-{mask.stem}"))
    with pytest.raises(DatasetError, match=r"none of the 3 images of train has a mask, such as .* named as its image"):
        open_dataset(config(tmp_path))


def test_a_held_out_image_without_a_mask_is_refused_by_name(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write_pictures(tmp_path, ["images/val/bare.jpg"])
    with pytest.raises(DatasetError, match=r"1 image of val has no mask, such as 'images/val/bare\.jpg': add"):
        open_dataset(config(tmp_path))
    assert open_dataset(config(tmp_path, left_out_images=("images/val/bare*",))).summary().splits["val"] == 1


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["cats/1.jpg"], ["dogs/1.png"], "has no folder of images beside one of masks, .* it has 'cats', 'dogs'"),
        (["voc/images/1.jpg"], ["voc/masks/1.png"], "set data.path to .*/voc if that is the dataset"),
        (["images/1.jpg"], ["masks/1.png", "labels/1.png"], "'labels', 'masks' are all read as folders of masks"),
        (
            ["images/train/1.jpg", "images/extra/1.jpg"], ["masks/train/1.png"],
            "the folders 'train' are splits, and 'images/extra/1.jpg' lies in none",
        ),
        (["images/train/1.jpg"], ["masks/train/2.png"], "no mask is named as an image is: .* 'masks/train/2.png'"),
    ],
    ids=["no such folders", "one folder above", "two folders of masks", "no split", "other names"],
)  # fmt: skip
def test_a_doubtful_layout_is_refused(tmp_path: Path, images: list[str], masks: list[str], message: str) -> None:
    write_pictures(tmp_path, images)
    write_masks(tmp_path, masks)
    with pytest.raises(DatasetError, match=message):
        open_dataset(config(tmp_path))


TWO_MASKS = "'images/train/1.jpg' has two masks, "
ONE_MASK = "'images/train/1.jpeg' and 'images/train/1.jpg' would share the mask 'masks/train/1.png'"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["masks/train/1.PNG"], f"{TWO_MASKS}'masks/train/1.PNG' and 'masks/train/1.png': which is meant is not known"),
        (["masks/train/1.tif"], f"{TWO_MASKS}'masks/train/1.png' and 'masks/train/1.tif'"),
        (["masks/train/1.gif", "masks/train/0.gif"], r"\(1 more so\).* Move the other one elsewhere, or .*=table"),
        (["images/train/1.jpeg"], f"{ONE_MASK}: whose it is, nothing says. Move the other"),
    ],
)
def test_files_of_one_name_with_different_endings_are_refused_where_one_would_be_chosen_in_silence(
    tmp_path: Path, more: list[str], message: str
) -> None:
    write_folders(tmp_path)
    write_masks(tmp_path, [path for path in more if path.startswith("masks")])
    write_pictures(tmp_path, [path for path in more if path.startswith("images")])
    with pytest.raises(DatasetError, match=message):
        open_dataset(config(tmp_path))


def test_images_of_two_splits_do_not_share_a_mask_that_lies_in_none(tmp_path: Path) -> None:
    pairs = {f"images/{name}.jpg": f"masks/{name.rpartition('/')[2]}.png" for name in ("train/0", "train/1", "val/1")}
    with pytest.raises(DatasetError, match=r"'images/train/1.jpg' and 'images/val/1.jpg' would share the mask 'masks/"):
        laid_out(tmp_path, pairs)


def test_masks_of_one_name_that_belong_to_no_image_or_to_an_unlabelled_one_are_no_matter(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write_masks(
        tmp_path, ["masks/train/9.png", "masks/train/9.tif", "masks/unlabelled/8.png", "masks/unlabelled/8.tif"]
    )
    write_pictures(tmp_path, ["images/unlabelled/8.jpg"])
    found = open_dataset(config(tmp_path))
    assert found.summary().splits == {"train": 3, "val": 1, "test": 1, "unlabelled": 1}


@pytest.mark.parametrize("twin", ["JPEGImages/1.png", "SegmentationClass/1.PNG"])
def test_a_name_in_the_lists_of_voc_that_is_of_two_files_is_refused(tmp_path: Path, twin: str) -> None:
    write_pictures(tmp_path, ["JPEGImages/0.jpg", "JPEGImages/1.jpg", "JPEGImages/2.jpg", "JPEGImages/2.png"])
    write_masks(tmp_path, [f"SegmentationClass/{number}.png" for number in (0, 1)])
    write_masks(tmp_path, [twin])
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("0\n1\n")
    with pytest.raises(DatasetError, match=f"{twin.partition('.')[0]}.* have the name that a list in .* gives: which"):
        open_dataset(config(tmp_path))


# --- splits by patterns ------------------------------------------------------------------------------------------


def test_a_sequence_is_left_out_as_the_test_split_by_a_pattern(tmp_path: Path) -> None:
    names = [f"{sequence}_{number}" for sequence in ("0001TP", "0006R0", "0016E5") for number in range(5)]
    pairs = {f"train/{name}.png": f"trainannot/{name}.png" for name in names}
    pairs |= {"val/0016E5_9.png": "valannot/0016E5_9.png", "unlabelled/0001TP_9.jpg": "", "unlabelled/0006R0_9.jpg": ""}
    found = laid_out(tmp_path, pairs, test_images=("train/0001TP_*",), left_out_images=("val/*", "unlabelled/0001TP_*"))
    by_split = {split: [one.id for one in found.candidates if one.split == split] for split in (*SPLITS, "unlabelled")}
    assert by_split["test"] == [f"train/0001TP_{number}.png" for number in range(5)]
    assert by_split["unlabelled"] == ["unlabelled/0006R0_9.jpg"]
    assert len(by_split["train"]) + len(by_split["val"]) == 10
    assert by_split["val"]  # made from train
    assert found.summary().left_out == {"left out by data.left_out_images": 2}
    assert "5 images are the test split by data.test_images" in found.said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_images": ("nowhere/*",)}, r"data\.test_images: no image fits 'nowhere/\*'; images have paths such as"),
        (
            {"test_images": ("*/0.jpg",), "val_images": ("images/train/*",)},
            "which another pattern makes val: narrow one",
        ),
    ],
)
def test_patterns_that_fit_nothing_or_twice_are_refused(tmp_path: Path, settings: Any, message: str) -> None:
    write_folders(tmp_path)
    with pytest.raises(DatasetError, match=message):
        open_dataset(config(tmp_path, **settings))
