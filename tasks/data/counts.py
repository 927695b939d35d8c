"""How many images each class has in each split, and which conclusions these counts do not allow."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from taskdistill.configs.data import UNLABELLED
from taskdistill.tasks.data.candidates import Candidate, DatasetError, some

SPLITS = ("train", "val", "test")
MAX_STANDARD_ERROR = 0.02
"""A held-out split is small where an accuracy of 80 % has a larger standard error than this: below 400 images. The
differences that distillation makes are mostly of two to five points.
"""
_ACCURACY = 0.8
NO_LABEL = "no label"
"""What stands in the place of a class for datasets whose images have none."""
MAX_CLASSES = 1000
"""Classes whose counts stand in a manifest, which commands read often: the smallest ones."""

Counts = dict[str, dict[str, int]]
"""Class -> split -> images; every class and split is there."""


def count(candidates: Iterable[Candidate], classes: Sequence[str]) -> Counts:
    found = Counter((candidate.label, candidate.split) for candidate in candidates if candidate.split != UNLABELLED)
    if any(label is None for label, _ in found):  # then none of them has one
        return {NO_LABEL: {split: found[None, split] for split in SPLITS}}
    return {name: {split: found[name, split] for split in SPLITS} for name in classes}


def are_labelled(counts: Counts) -> bool:
    return counts.keys() != {NO_LABEL}


def totals(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the images of each split."""
    return {split: sum(of_class[split] for of_class in counts.values()) for split in SPLITS}


def described(counts: Counts) -> str:
    """Return the images of each split, and those of the smallest class and the largest."""
    splits = ", ".join(f"{split} {num_images}" for split, num_images in totals(counts).items())
    if not are_labelled(counts):
        return f"images without labels: {splits}"
    of_train = {name: of_class["train"] for name, of_class in counts.items()}
    least, most = min(of_train, key=of_train.__getitem__), max(of_train, key=of_train.__getitem__)
    span = f"from {of_train[least]} of {least!r} to {of_train[most]} of {most!r}"
    each = f"{of_train[least]} of each class" if of_train[least] == of_train[most] else span
    return f"{len(counts)} classes, images: {splits}; for training {each}"


def standard_error(num_images: int, accuracy: float = _ACCURACY) -> float:
    """Return the standard error of an accuracy, 0..1, found on this many images: that of a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def too_few_for_folds(num_train: int, num_folds: int) -> DatasetError:
    """Return the error of training images of which some fold would have none, or one all of them."""
    return DatasetError(
        f"probe.folds is {num_folds}, and there are {num_train} training images: there must be at least as many as "
        "folds, and some left whichever fold is left out. Set probe.folds (of a student's probe, student_probe.folds) "
        "to fewer, or to 0 for none; where the student's settings are chosen on folds, tuning.folds to fewer, or "
        "tuning.search to 'none'"
    )


def warnings(counts: Counts) -> list[str]:
    """Return a sentence for each class that a held-out split lacks, and each held-out split that is small."""
    said = []
    missing = defaultdict(list)
    for name, of_class in counts.items():
        for split in ("val", "test"):
            if not of_class[split]:
                missing[split].append(name)
    for split, names in missing.items():
        said.append(
            f"{split} has no image of {len(names)} of {len(counts)} classes, so no score tells of {some(names)}"
        )
    # Of masks other things are scored than the share of images that are right.
    for split, num_images in totals(counts).items() if are_labelled(counts) else ():
        if split != "train" and num_images and standard_error(num_images) > MAX_STANDARD_ERROR:
            images = "1 image" if num_images == 1 else f"{num_images} images"
            said.append(
                f"{split} has {images}: an accuracy of {_ACCURACY:.0%} on it has a standard error of "
                f"{100 * standard_error(num_images):.1f} points, so smaller differences between models say nothing"
            )
    return said
