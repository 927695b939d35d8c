"""Downstream worlds as ordinary datasets: a few labelled pictures of 25 species, in a folder or in memory.

A world is its seed. Its species were never seen as such in pretraining, which draws every attribute of every bird
independently. Each split has a generator of its own, so that a larger training split leaves the test split as it was.

Shape letters: N pictures, K species, A attributes, C = 3 colour channels, H W pixels.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from configs.errors import UserError
from storage.files import atomic, sync_tree
from tasks.miniature.attributes import Species, draw_species
from tasks.miniature.world import Pictures, draw

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


def write_dataset(folder: Path, *, seed: int, train_per_class: int, val_per_class: int, test_per_class: int) -> Path:
    """Write a world to a folder and return its table, `images.csv` with the columns path, label, split, mask.

    Pictures are `images/<split>/<class>/<n>.png`; masks have the same place under `masks/` and hold a part's number
    (tasks.miniature.world.PARTS) at each pixel. The table is written last: a folder with one is complete. The same
    call fills up what an earlier one left undone; DatasetExistsError where the folder holds other files.
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
        rows += _write_split(folder, draw_split(species, seed=seed, split=split, per_class=number), species, split)
    table = folder / TABLE
    folder.mkdir(parents=True, exist_ok=True)
    sync_tree(folder)  # a power cut must not leave the table beside empty pictures
    with atomic(table) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "label", "split", "mask"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return table


def _write_split(folder: Path, split: Split, species: Species, name: str) -> list[dict[str, str]]:
    rows = []
    digits = len(str(max(len(split.labels_N) // len(species.names) - 1, 0)))
    counts = [0] * len(species.names)
    pictures = split.pictures
    for label, image_HWC, mask_HW in zip(
        split.labels_N.tolist(), pictures.images_NHWC.numpy(), pictures.masks_NHW.numpy(), strict=True
    ):
        place = f"{name}/{species.names[label]}/{counts[label]:0{digits}}.png"
        counts[label] += 1
        for kind, pixels in (("images", image_HWC), ("masks", mask_HW)):
            path = folder / kind / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        rows.append({"path": f"images/{place}", "label": species.names[label], "split": name, "mask": f"masks/{place}"})
    return rows


def _generator(seed: int, split: str) -> torch.Generator:
    """Return a stream of its own for each split of a seed."""
    return torch.Generator().manual_seed(1_000 * (seed + 1) + list(SPLITS).index(split))
