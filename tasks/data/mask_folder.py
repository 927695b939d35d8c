"""Dataset form "masks": a folder of images and one of masks, as many data sets and annotation programs lay them out.

    folders     images/{split}/x.jpg + masks/{split}/x.png, or {split}/images/x.jpg + {split}/masks/x.png; folders
                within may go on (cities, sequences), and without folders of splits the splits are made. COCO-Stuff,
                mmsegmentation's img_dir and ann_dir, and what programs call annotations or labels, are the same.
    cityscapes  leftImg8bit/{split}/{city}/x_leftImg8bit.png + gtFine/{split}/{city}/x_gtFine_labelTrainIds.png, or
                ..._labelIds.png
    ade20k      images/training + annotations/training: 0 is ignored, the others are classes
    camvid      {split}/x.png + {split}annot/x.png
    voc         JPEGImages + SegmentationClass, with lists in ImageSets/Segmentation (tasks.data.voc_lists)

Which of these it is follows from the folders' names. A mask belongs to the image of the same folder and name, endings
such as `_mask` aside (tasks.data.mask_pairs). Images of train without one are unlabelled; so is a folder called so.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, dataset_folder, some
from taskdistill.tasks.data.label_files import read_labels
from taskdistill.tasks.data.label_tables import CAMVID, CITYSCAPES, CITYSCAPES_IDS, LabelTable
from taskdistill.tasks.data.left_out import NO_IMAGE, NOT_IN_LAYOUT, contents
from taskdistill.tasks.data.mask_pairs import Pairs, Place, paired
from taskdistill.tasks.data.split_names import explained, hint, is_unlabelled, meaning, resolve
from taskdistill.tasks.data.voc_lists import LISTS, list_voc

IMAGES = frozenset((
    "images", "image", "imgs", "img", "imgdir", "jpegimages", "photos", "pictures", "rgb", "leftimg8bit", "inputs",
    "input",
))  # fmt: skip
MASKS = frozenset((
    "masks", "mask", "annotations", "annotation", "anndir", "labels", "label", "segmentation", "segmentations",
    "segmentationclass", "segmentationclassaug", "segmaps", "labelmaps", "gt", "groundtruth", "gtfine", "gtcoarse",
    "targets", "target", "pixelmaps", "stuffthingmaps",
))  # fmt: skip
"""What folders are called, case and signs aside."""
_ANNOT = "annot"
_NAMES_OF_ADE20K, _SCENES_OF_ADE20K = "objectInfo150.txt", "sceneCategories.txt"
"""Files beside the folders of the ADE20K benchmark; the first names its classes."""


def list_images(config: IngestConfig) -> Listing:
    """Return every image with its mask and split; DatasetError where the layout is doubtful, or is none we know."""
    folder = dataset_folder(config)
    found = contents(folder)
    layout = _layout(folder, found.pictures) if config.layout == "by-names" else config.layout
    if layout == "voc":
        listing = list_voc(folder, found)
        return listing._replace(labels=None, said=()) if config.labels else listing
    place = _of_camvid if layout == "camvid" else _of_folders
    placed = {path: role for path in found.pictures if (role := place(path))}
    if {is_mask for is_mask, _, _ in placed.values()} != {False, True}:
        raise DatasetError(_no_layout(folder, found.pictures))
    images, words = _with_splits([(path, rest) for path, (is_mask, rest, _) in placed.items() if not is_mask])
    masks, _ = _with_splits([(path, rest) for path, (is_mask, rest, _) in placed.items() if is_mask])
    _refuse_several(placed)
    pairs = paired(images, masks)
    if not pairs.mask_of:
        raise DatasetError(
            f"no mask is named as an image is: images are such as {images[0].path!r}, masks such as {masks[0].path!r}. "
            "Give them the same names in the same folders, or name each image and its mask in a table "
            "(--set data.form=table)"
        )
    candidates = [Candidate(one.path, folder, None, one.split, pairs.mask_of.get(one.path)) for one in images]
    left_out = [LeftOut(path, NOT_IN_LAYOUT) for path in found.pictures if path not in placed]
    left_out += [LeftOut(path, NO_IMAGE) for path in pairs.unused]
    labels, said = (None, []) if config.labels else _labels(folder, layout, pairs)
    return Listing(
        candidates, [*found.left_out, *left_out], [*explained(_of_labelled(words)), *pairs.said, *said], labels
    )


_Placed = tuple[bool, tuple[str, ...], str]
"""Whether it is a mask, its path from the split on, and the folder that says so."""


def _of_folders(path: str) -> _Placed | None:
    """Return what a picture is by the first folder, or the one below a split; None where neither says it."""
    *folders, name = path.split("/")
    for level, folder in enumerate(folders[:2]):
        if _letters(folder) in IMAGES | MASKS:
            return _letters(folder) in MASKS, (*folders[:level], *folders[level + 1 :], name), folder
        if not _split_of(folder):
            return None
    return None


def _of_camvid(path: str) -> _Placed | None:
    top, *rest = path.split("/")
    if not rest or not _split_of(top.removesuffix(_ANNOT)):
        return None
    return top.endswith(_ANNOT), (top.removesuffix(_ANNOT), *rest), _ANNOT


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _split_of(name: str) -> str:
    """Return what the name of a folder says of its split, `train_extra` too; empty where it says nothing."""
    return UNLABELLED if is_unlabelled(name) else meaning(name) or hint(name)


def _layout(folder: Path, pictures: Sequence[str]) -> str:
    """Return which of the layouts it is, by the names of folders."""
    tops = {path.partition("/")[0] for path in pictures if "/" in path}
    plain = set(map(_letters, tops))
    if "jpegimages" in plain and (folder / LISTS).is_dir():
        return "voc"
    if "leftimg8bit" in plain:
        return "cityscapes"
    if any(f"{top}{_ANNOT}" in tops for top in tops):
        return "camvid"
    if any((folder / name).is_file() for name in (_NAMES_OF_ADE20K, _SCENES_OF_ADE20K)):
        return "ade20k"
    return "folders"


def _no_layout(folder: Path, pictures: Sequence[str]) -> str:
    """Say that images and masks were not found, and where they may be."""
    tops = sorted({path.partition("/")[0] for path in pictures if "/" in path})
    inner = f"; set data.path to {folder / tops[0]} if that is the dataset" if len(tops) == 1 else ""
    return (
        f"{folder} has no folder of images beside one of masks, as images/train and masks/train, train/images and "
        f"train/masks, or train and trainannot; it has {some(tops, 8) or 'no folders with pictures'}{inner}. Rename "
        "them, or name each image and its mask in a table with the columns path,mask,split (--set data.form=table)"
    )


def _refuse_several(placed: dict[str, _Placed]) -> None:
    """Raise DatasetError where several folders hold images, or several masks: which are meant is not known."""
    for wanted, what in ((False, "images"), (True, "masks")):
        folders = sorted({folder for is_mask, _, folder in placed.values() if is_mask == wanted})
        if len(folders) > 1:
            raise DatasetError(
                f"{some(folders)} are all read as folders of {what}: move those that are not meant elsewhere, or name "
                "each image and its mask in a table (--set data.form=table)"
            )


def _with_splits(paths: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[list[Place], dict[str, str]]:
    """Return the places of pictures, and the split of each folder of one; DatasetError where some folders name a split
    and others none.
    """
    words = {rest[0] for _, rest in paths if len(rest) > 1}
    known = {word for word in words if _split_of(word)}
    if known and (others := [path for path, rest in paths if len(rest) == 1 or rest[0] not in known]):
        raise DatasetError(
            f"the folders {some(sorted(known))} are splits, and {some(others)} lies in none: move it, give its folder "
            "the name of a split (train, val, test, unlabelled), or use a table (--set data.form=table)"
        )
    split_of = {word: _split_of(word) for word in known if not meaning(word)}
    split_of |= resolve(known - split_of.keys(), "the dataset")
    places = []
    for path, rest in paths:
        *folders, name = rest
        inner = tuple(folders[1:] if known else folders)
        places.append(Place(path, split_of[rest[0]] if known else "", inner, name.rpartition(".")[0] or name))
    return places, split_of


def _of_labelled(words: Mapping[str, str]) -> dict[str, str]:
    return {word: split for word, split in words.items() if not is_unlabelled(word)}


def _labels(folder: Path, layout: str, pairs: Pairs) -> tuple[LabelTable | None, list[str]]:
    """Return what the layout says of the classes, and a sentence of it."""
    if layout == "camvid":
        return CAMVID, ["the classes are CamVid's 11, as the layout is; data.labels names others"]
    if layout == "cityscapes":
        by_ids = pairs.ending.endswith("_labelIds")
        numbers = "ids, of which 19 are classes" if by_ids else "numbers for training"
        return CITYSCAPES_IDS if by_ids else CITYSCAPES, [f"masks are read as Cityscapes' {numbers}"]
    if layout == "ade20k" and (folder / _NAMES_OF_ADE20K).is_file():
        table = read_labels(folder / _NAMES_OF_ADE20K)
        return table._replace(ignored=(0,)), [f"the classes are those of {_NAMES_OF_ADE20K}; 0 is ignored"]
    return None, []
