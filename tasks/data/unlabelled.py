"""Images without labels: those of a folder, those of a dataset that have no label, and which of them must not teach.

A teacher speaks for them, and the student learns from it. An image that is byte for byte one of validation or test
would teach the student what it is judged on; one that is a training image would count twice.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.data import UNLABELLED, UnlabelledConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.tables import read_table
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, some
from taskdistill.tasks.data.dataset import checked_names, refuse_lfs_pointers
from taskdistill.tasks.data.drawn import drawn
from taskdistill.tasks.data.left_out import contents

IS_HELD_OUT, IS_LABELLED = "identical to a val or test image", "identical to an image of the dataset"


class Unlabelled(NamedTuple):
    """One image without a label."""

    id: str
    path: Path | None
    """Its file; None for an image of the dataset."""
    row: int = -1
    """Of the dataset."""


class Found(NamedTuple):
    """All of them, ordered by id, and what was passed over."""

    images: list[Unlabelled]
    left_out: list[LeftOut]
    said: list[str]


def list_folder(config: UnlabelledConfig) -> Listing:
    """Return every picture of the folder, at any depth, none of them labelled; nothing where no folder is named.

    Raises DatasetError where there is no such folder or its pictures cannot be used.
    """
    if not config.path:
        return Listing([])
    folder = Path(config.path).expanduser().absolute()
    if not folder.is_dir():
        raise DatasetError(f"unlabelled.path is {config.path!r}, which is not a folder: set it to a folder of images")
    found = contents(folder)
    candidates = [Candidate(path, folder, None, UNLABELLED) for path in found.pictures]
    listing = Listing(candidates, found.left_out)
    said = checked_names(config, listing)
    refuse_lfs_pointers(listing)
    if config.max_images and config.max_images < len(candidates):
        said.append(f"{config.max_images} of {len(candidates)} images are taken (unlabelled.max_images)")
        listing = listing._replace(candidates=drawn(candidates, config.max_images, seed=0))
    return listing._replace(said=said)


def find_unlabelled(config: UnlabelledConfig, images: ImageSet) -> Found:
    """Return the images of the folder and those of the dataset that have no label; DatasetError where there is none."""
    listing = list_folder(config)
    own = [Unlabelled(images.ids[row], None, row) for row in images.rows_of(UNLABELLED).tolist()]
    taken, more = set(images.ids), list[Unlabelled]()
    for one in listing.candidates:
        # Names may meet: ids are relative to two folders. What views an image has goes by its id.
        more.append(Unlabelled(_free(one.id, taken), one.path))
        taken.add(more[-1].id)
    if not own and not more:
        raise nothing_there(config)
    return Found(sorted([*own, *more], key=lambda one: one.id), list(listing.left_out), list(listing.said))


def nothing_there(config: UnlabelledConfig) -> DatasetError:
    """Return the error of a set without any image."""
    where = f"unlabelled.path {config.path!r} holds no pictures" if config.path else "unlabelled.path is not set"
    return DatasetError(
        f"synthetic_images is 'unlabelled', but {where}, and no image of the dataset is without a label: set "
        "unlabelled.path to a folder of images, or synthetic_images to none"
    )


def nothing_new(num_images: int, left_out: list[LeftOut]) -> DatasetError:
    """Return the error of a set of which nothing may be used."""
    return DatasetError(
        f"of {num_images} unlabelled images none can be used, such as {some([one.path for one in left_out])}: those "
        "that are byte for byte images of the dataset are left out. Set unlabelled.path to images that are not in the "
        "dataset, or synthetic_images to none"
    )


def digests_of(images: ImageSet) -> dict[str, str]:
    """Return the split of each image of a set by the SHA-256 of its bytes; of images in several splits the one that is
    judged on.
    """
    files = images.folder / "files.parquet"
    known = {row["id"]: row["sha256"] for row in read_table(files)} if files.is_file() else {}
    split_of: dict[str, str] = {}
    for split in (UNLABELLED, "train", "val", "test"):
        for row in images.rows_of(split).tolist():
            digest = known.get(images.ids[row]) or hashlib.sha256(images.image(row)).hexdigest()
            split_of[digest] = split
    return split_of


def reason_against(image: Unlabelled, split: str | None) -> str:
    """Return why an image whose bytes are also in this split of the dataset is left out; empty where it is not."""
    if split in ("val", "test"):
        return IS_HELD_OUT
    if split == "train" or (split == UNLABELLED and image.path):
        return IS_LABELLED
    return ""


def shards_of(images: list[Unlabelled], size: int) -> Iterator[list[Unlabelled]]:
    """Cut the images into shards of so many rows."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{UNLABELLED}/{name}"
    return name
