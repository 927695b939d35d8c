"""The 596 photographs of clothing, cut in several ways: tables for the dataset form "table" over one folder of copies.

| cut | what it is |
| --- | --- |
| folds | the five parts of a cross-validation over all photographs; of the other four an eighth is for validation |
| all | the splits as they are published: 360 for training, 100 for validation, 136 for testing |
| ten | the same with ten training photographs a class, drawn by the seed |
| kinds | the published splits with the ten classes merged into four |
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from taskdistill.storage.files import atomic

SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Folder of the published split -> its name in a table."""
KINDS = {
    "t-shirt": "upper", "longsleeve": "upper", "shirt": "upper", "outwear": "upper",
    "pants": "lower", "shorts": "lower", "skirt": "lower",
    "dress": "dress", "hat": "accessory", "shoes": "accessory",
}  # fmt: skip
CUTS = ("folds", "all", "ten", "kinds")
RUNS = range(5)
"""Folds of the cross-validation, or seeds."""
VALIDATION_PARTS = 8
PER_CLASS = 10


class Photograph(NamedTuple):
    """One row of a table."""

    path: str
    label: str
    split: str


def write_cuts(source: Path, folder: Path) -> None:
    """Copy the photographs of `source`/{train,validation,test}/<class> and write every table beside them."""
    photographs = list(_copied(source, folder))
    for cut in CUTS:
        for run in RUNS:
            _write(folder / table_of(cut, run), _rows(photographs, cut, run))


def table_of(cut: str, run: int) -> str:
    """Return the name of the table of a cut; only some cuts differ from run to run."""
    return f"{cut}-{run}.csv" if cut in ("folds", "ten") else f"{cut}.csv"


def _copied(source: Path, folder: Path) -> Iterator[Photograph]:
    for split, name in SPLITS.items():
        for path in sorted((source / split).glob("*/*.jpg")):
            label = path.parent.name
            target = folder / label / path.name
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic(target) as partial:  # a kill must leave no half of a photograph, which would stay
                    shutil.copyfile(path, partial)
            yield Photograph(f"{label}/{path.name}", label, name)


def _rows(photographs: list[Photograph], cut: str, run: int) -> list[Photograph]:
    if cut == "folds":
        return _fold(photographs, run)
    if cut == "ten":
        return _few(photographs, run)
    if cut == "kinds":
        return [one._replace(label=KINDS[one.label]) for one in photographs]
    return photographs


def _fold(photographs: list[Photograph], run: int) -> list[Photograph]:
    """Deal each class to the folds in an order that is the same for every run."""
    rows = []
    for label in sorted({one.label for one in photographs}):
        members = [one for one in photographs if one.label == label]
        order = np.random.default_rng([0, len(members)]).permutation(len(members))
        others = 0
        for place, index in enumerate(order):
            split = "test" if place % len(RUNS) == run else "train"
            if split == "train":
                split = "val" if others % VALIDATION_PARTS == 0 else "train"
                others += 1
            rows.append(members[index]._replace(split=split))
    return rows


def _few(photographs: list[Photograph], run: int) -> list[Photograph]:
    rows = [one for one in photographs if one.split != "train"]
    for label in sorted({one.label for one in photographs}):
        members = [one for one in photographs if (one.label, one.split) == (label, "train")]
        chosen = np.random.default_rng([1, run]).permutation(len(members))[:PER_CLASS]
        rows += [members[index] for index in chosen]
    return rows


def _write(path: Path, rows: list[Photograph]) -> None:
    # Whole at any time: another process may read it.
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Photograph._fields)
        writer.writerows(rows)
