"""Downstream worlds as ordinary datasets: a few labelled pictures of 25 species, in a folder or in memory.

A world is its seed. Its species were never seen as such in pretraining, which draws every attribute of every bird
independently. Each split has a generator of its own, so that a larger training split leaves the test split as it was.

Shape letters: N pictures, K species, A attributes, C = 3 colour channels, H W pixels.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from taskdistill.configs.data import UNLABELLED
from taskdistill.configs.errors import UserError
from taskdistill.storage.files import atomic, sync_tree
from taskdistill.tasks.miniature.attributes import Species, draw_species
from taskdistill.tasks.miniature.world import Pictures, draw

TABLE = "images.csv"

SPLITS = ("train", "val", "test")


class DatasetExistsError(UserError, FileExistsError):
    """The folder to write to has something else in it."""


class Split(NamedTuple):
    """Labelled pictures, class after class."""

    pictures: Pictures
    labels_N: Tensor


def draw_split(species: Species, *, seed: int, split: str, per_class: int) -> Split:
    """Draw `per_class` pictures of each species."""
    labels_N = torch.arange(len(species.names)).repeat_interleave(per_class)
    return Split(draw(species.attributes_KA[labels_N], _generator(seed, split)), labels_N)


def are_labelled(num_pictures: int, num_labelled: int) -> list[bool]:
    """Return which pictures of a training split have labels where only some do: evenly spread over the classes."""
    return [
        (number + 1) * num_labelled // num_pictures > number * num_labelled // num_pictures
        for number in range(num_pictures)
    ]


def write_dataset(
    folder: Path, *, seed: int, train_per_class: int, val_per_class: int, test_per_class: int, num_labelled: int = 0
) -> Path:
    """Write a world to a folder and return its table, `images.csv` with the columns path, label, split, mask.

    Pictures are `images/<split>/<class>/<n>.png`; masks have the same place under `masks/` and hold a part's number
    (tasks.miniature.world.PARTS) at each pixel. With `num_labelled` only so many of the training pictures are listed
    with label and mask, the others in the split `unlabelled` without either; 0: all have both.

    The table is written last: a folder with one is complete. The same call fills up what an earlier one left undone;
    DatasetExistsError where the folder holds other files.
    """
    per_class = dict(zip(SPLITS, (train_per_class, val_per_class, test_per_class), strict=True))
    if strangers := sorted({path.name for path in folder.glob("*")} - {"images", "masks", TABLE}):
        raise DatasetExistsError(
            f"{folder} already holds {strangers[:3]}: a dataset of birds is written to a new folder, or over one of "
            "its own; name another folder"
        )
    species = draw_species(seed)
    rows = []
    for split, number in per_class.items():
        drawn = draw_split(species, seed=seed, split=split, per_class=number)
        num_all = len(drawn.labels_N)
        has_label = are_labelled(num_all, num_labelled if num_labelled and split == "train" else num_all)
        rows += _write_split(folder, drawn, species, split, has_label)
    table = folder / TABLE
    folder.mkdir(parents=True, exist_ok=True)
    sync_tree(folder)  # a power cut must not leave the table beside empty pictures
    with atomic(table) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "label", "split", "mask"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return table


def _write_split(
    folder: Path, split: Split, species: Species, name: str, has_label: Sequence[bool]
) -> list[dict[str, str]]:
    rows = []
    digits = len(str(max(len(split.labels_N) // len(species.names) - 1, 0)))
    counts = [0] * len(species.names)
    pictures = split.pictures
    for label, image_HWC, mask_HW, is_labelled in zip(
        split.labels_N.tolist(), pictures.images_NHWC.numpy(), pictures.masks_NHW.numpy(), has_label, strict=True
    ):
        species_name = species.names[label]
        place = f"{name}/{species_name}/{counts[label]:0{digits}}.png"
        counts[label] += 1
        row = {"path": f"images/{place}", "label": "", "split": UNLABELLED, "mask": ""}
        _save(folder / row["path"], image_HWC)
        if is_labelled:
            row |= {"label": species_name, "split": name, "mask": f"masks/{place}"}
            _save(folder / row["mask"], mask_HW)
        rows.append(row)
    return rows


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _generator(seed: int, split: str) -> torch.Generator:
    """Return a stream of its own for each split of a seed."""
    return torch.Generator().manual_seed(1_000 * (seed + 1) + list(SPLITS).index(split))
