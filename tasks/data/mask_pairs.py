"""Which mask belongs to which image: the one in the same folder with the same name, endings of either kind aside.

All masks of a dataset have one ending, the one that gives most pairs: so of Cityscapes' four pictures of each image
those with classes are taken, and those with instances or colours are left.
"""

from collections.abc import Sequence
from typing import NamedTuple

IMAGE_ENDINGS = ("", "_leftImg8bit", "_image", "_img", "_rgb", "_sat")
MASK_ENDINGS = (
    "_gtFine_labelTrainIds", "_gtCoarse_labelTrainIds", "_labelTrainIds", "", "_gtFine_labelIds", "_gtCoarse_labelIds",
    "_labelIds", "_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_GT", "_L",
    "_annotation",
)  # fmt: skip
"""What follows the name of the image; of those that give as many pairs the first is taken."""


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
        return [f"masks are named as their images with {self.ending!r} behind; {len(self.unused)} others are left out"]


def paired(images: Sequence[Place], masks: Sequence[Place]) -> Pairs:
    """Pair images and masks. Where masks lie in no folders of splits, those of the images do not count."""
    with_splits = any(mask.split for mask in masks)
    mask_at = {(mask.split, mask.inner, mask.stem): mask.path for mask in masks}
    best: tuple[dict[str, str], str] = ({}, "")
    for image_ending in IMAGE_ENDINGS:
        named = [image for image in images if image.stem.endswith(image_ending)]
        for mask_ending in MASK_ENDINGS:
            found = {}
            for image in named:
                stem = image.stem.removesuffix(image_ending) + mask_ending
                if mask := mask_at.get((image.split if with_splits else "", image.inner, stem)):
                    found[image.path] = mask
            if len(found) > len(best[0]):
                best = found, mask_ending
    used = set(best[0].values())
    return Pairs(best[0], [mask.path for mask in masks if mask.path not in used], best[1])
