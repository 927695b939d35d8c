"""Layout of Pascal VOC: JPEGImages/x.jpg, SegmentationClass/x.png, and lists of names in ImageSets/Segmentation.

Lists called train, val and test are the splits, others are not read (trainval holds both). Images in no list are left
out: VOC's folder holds those of its other tasks too.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, some
from taskdistill.tasks.data.label_tables import VOC
from taskdistill.tasks.data.left_out import IN_NO_LIST, NO_IMAGE, Contents

LISTS = "ImageSets/Segmentation"
IMAGES, MASKS = "JPEGImages", ("SegmentationClassAug", "SegmentationClass")
_SPLITS = ("train", "val", "test")


def list_voc(folder: Path, found: Contents) -> Listing:
    """Return the images that the lists name; DatasetError where there is no list, or one names what is not there."""
    images = _by_stem(found.pictures, IMAGES)
    of_masks = next((name for name in MASKS if any(path.startswith(f"{name}/") for path in found.pictures)), MASKS[-1])
    masks = _by_stem(found.pictures, of_masks)
    split_of = _splits(folder)
    for pictures in (images, masks):
        _refuse_several(pictures, split_of)
    if missing := [name for name in split_of if name not in images]:
        raise DatasetError(
            f"{len(missing)} of {len(split_of)} images that the lists in {folder / LISTS} name are not in "
            f"{folder / IMAGES}, such as {some(missing)}: unpack the images, or take them out of the lists"
        )
    candidates = [
        Candidate(images[name][0], folder, None, split, masks[name][0] if name in masks else None)
        for name, split in split_of.items()
    ]
    left_out = [LeftOut(path, IN_NO_LIST) for name, paths in images.items() if name not in split_of for path in paths]
    left_out += [LeftOut(path, NO_IMAGE) for name, paths in masks.items() if name not in split_of for path in paths]
    said = ["the classes are VOC's 21, as the layout is; data.labels names others"]
    return Listing(candidates, [*found.left_out, *left_out], said, VOC)


def _by_stem(pictures: Sequence[str], top: str) -> dict[str, list[str]]:
    """Return the pictures of a folder by their path in it without ending."""
    found = defaultdict[str, list[str]](list)
    for path in pictures:
        if path.startswith(f"{top}/"):
            found[path.removeprefix(f"{top}/").rpartition(".")[0]].append(path)
    return found


def _refuse_several(pictures: Mapping[str, Sequence[str]], named: Collection[str]) -> None:
    """Raise DatasetError where a name in the lists is that of two pictures."""
    if several := [paths for name, paths in pictures.items() if len(paths) > 1 and name in named]:
        more = f" ({len(several) - 1} more such names)" if len(several) > 1 else ""
        raise DatasetError(
            f"{several[0][0]!r} and {several[0][1]!r} have the name that a list in {LISTS} gives{more}: which is meant "
            "is not known; move the other one elsewhere"
        )


def _splits(folder: Path) -> dict[str, str]:
    """Return the split of each name; DatasetError for a name in several lists, or a list that is no text."""
    split_of: dict[str, str] = {}
    for split in _SPLITS:
        file = folder / LISTS / f"{split}.txt"
        if not file.is_file():
            continue
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")  # editors on Windows begin a file with a mark
        except OSError as error:
            raise unreadable(file, error) from error
        except UnicodeDecodeError as error:
            raise DatasetError(f"{file} is not UTF-8: save it as UTF-8, with one name of an image a line") from error
        for name in filter(None, map(str.strip, lines)):
            if split_of.setdefault(name, split) != split:
                raise DatasetError(
                    f"{name!r} is in the lists {split_of[name]}.txt and {split}.txt of {folder / LISTS}: take it "
                    "out of one"
                )
    if not split_of:
        raise DatasetError(f"{folder / LISTS} holds no list train.txt, val.txt or test.txt with names in it: add one")
    return split_of
