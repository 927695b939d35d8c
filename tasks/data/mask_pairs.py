"""Which mask belongs to which image: the one in the same folder with the same name, endings of either kind aside.

All masks of a dataset have one ending, the one that gives most pairs: so of Cityscapes' four pictures of each image
those with classes are taken, and those with instances or colours are left.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED
from taskdistill.tasks.data.candidates import DatasetError

IMAGE_ENDINGS = ("", "_leftImg8bit", "_image", "_img", "_rgb", "_sat")
MASK_ENDINGS = (
    "_gtFine_labelTrainIds", "_gtCoarse_labelTrainIds", "_labelTrainIds", "", "_gtFine_labelIds", "_gtCoarse_labelIds",
    "_labelIds", "_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_GT", "_L",
    "_annotation",
)  # fmt: skip
"""What follows the name of the image; of those that give as many pairs the first is taken."""


_BY_TABLE = "or name each image and its mask in a table (--set data.form=table)"


class Place(NamedTuple):
    """Where a picture lies in a layout."""

    path: str
    """Relative to the dataset's folder."""
    split: str
    """Empty where the layout has no folders of splits."""
    inner: tuple[str, ...]
    """Folders between that of the split and the file."""
    stem: str
    """The file's name without what follows its last dot."""


class Pairs(NamedTuple):
    """Images with their masks."""

    mask_of: dict[str, str]
    """Path of an image -> path of its mask; images without one are not there."""
    unused: list[str]
    """Paths of masks that belong to no image."""
    ending: str
    """What the names of these masks end with, beside those of their images."""

    @property
    def said(self) -> list[str]:
        if not self.ending:
            return []
        others = counted(len(self.unused), "other is", "others are")
        return [f"masks are named as their images with {self.ending!r} behind; {others} left out"]


def paired(images: Sequence[Place], masks: Sequence[Place]) -> Pairs:
    """Pair images and masks. Where masks lie in no folders of splits, those of the images do not count.

    Raises DatasetError where an image could have either of two masks, or two images would share one. Images that are
    called unlabelled have none.
    """
    with_splits = any(mask.split for mask in masks)
    masks_at = defaultdict[tuple[str, tuple[str, ...], str], list[str]](list)
    for mask in masks:
        masks_at[mask.split, mask.inner, mask.stem].append(mask.path)
    best: tuple[dict[str, list[str]], str] = ({}, "")
    for image_ending in IMAGE_ENDINGS:
        named = [image for image in images if image.stem.endswith(image_ending) and image.split != UNLABELLED]
        for mask_ending in MASK_ENDINGS:
            found = {}
            for image in named:
                stem = image.stem.removesuffix(image_ending) + mask_ending
                if at := masks_at.get((image.split if with_splits else "", image.inner, stem)):
                    found[image.path] = at
            if len(found) > len(best[0]):
                best = found, mask_ending
    mask_of = _one_each(best[0])
    used = set(mask_of.values())
    return Pairs(mask_of, [mask.path for mask in masks if mask.path not in used], best[1])


def _one_each(found: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the mask of each image; DatasetError where there are several, or it is another image's too."""
    if several := [image for image, at in found.items() if len(at) > 1]:
        first, second = found[several[0]][:2]
        raise DatasetError(
            f"{several[0]!r} has two masks, {first!r} and {second!r}{_and_more(several)}: which is meant is not known. "
            f"Move the other one elsewhere, {_BY_TABLE}"
        )
    images_of = defaultdict[str, list[str]](list)
    for image, (mask,) in found.items():
        images_of[mask].append(image)
    if shared := [mask for mask, of in images_of.items() if len(of) > 1]:
        first, second = images_of[shared[0]][:2]
        raise DatasetError(
            f"{first!r} and {second!r} would share the mask {shared[0]!r}{_and_more(shared)}: whose it is, nothing "
            f"says. Move the other one elsewhere, {_BY_TABLE}"
        )
    return {image: mask for image, (mask,) in found.items()}


def _and_more(found: Sequence[str]) -> str:
    return f" ({len(found) - 1} more so)" if len(found) > 1 else ""
