"""What a dataset would be if there were fewer images, or fewer of them had been labelled; drawn by a seed."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError
from taskdistill.tasks.data.dataset import Dataset
from taskdistill.tasks.data.splits import MIN_TRAIN_IMAGES


def with_fewer_images(dataset: Dataset, config: IngestConfig) -> Dataset:
    """Return the dataset with about `data.max_images` images: of each split and class its share, rounded up, and as
    many as a class must have. With the same seed fewer are among the more.
    """
    wanted, number = config.max_images, len(dataset.candidates)
    if not wanted or wanted >= number:
        return dataset
    groups = defaultdict(list)
    for one in dataset.candidates:
        groups[one.split, one.label].append(one)
    kept = {
        one.id
        for images in groups.values()
        for one in drawn(images, max(MIN_TRAIN_IMAGES, math.ceil(len(images) * wanted / number)), config.labels_seed)
    }
    said = f"{len(kept)} of {number} images are taken (data.max_images is {wanted})"
    return dataset._replace(
        candidates=[one for one in dataset.candidates if one.id in kept], said=[*dataset.said, said]
    )


def with_few_labels(dataset: Dataset, config: IngestConfig) -> Dataset:
    """Return the dataset with `data.labels_per_class` labelled training images of each class; the others are of the
    split unlabelled, so that they may teach without their labels. Validation and test keep theirs.

    With the same seed the few are among the more: 1 of each class is one of the 2. DatasetError where masks say what is
    to be learnt.
    """
    wanted = config.labels_per_class
    if not wanted:
        return dataset
    if dataset.labels:
        raise DatasetError(
            "data.labels_per_class counts images of a class, and here masks say what is to be learnt: leave it out"
        )
    by_class = defaultdict(list)
    for one in dataset.candidates:
        if one.split == "train":
            by_class[one.label].append(one)
    kept = {one.id for images in by_class.values() for one in drawn(images, wanted, config.labels_seed)}
    candidates = [
        one._replace(split=UNLABELLED, label=None) if one.split == "train" and one.id not in kept else one
        for one in dataset.candidates
    ]
    all_images, fewer = sum(map(len, by_class.values())), sum(len(images) < wanted for images in by_class.values())
    said = f"{len(kept)} of {all_images} training images keep their label (data.labels_per_class is {wanted})"
    said += f"; {fewer} of {len(by_class)} classes have fewer" if fewer else ""
    return dataset._replace(candidates=candidates, said=[*dataset.said, said])


def drawn(images: Sequence[Candidate], number: int, seed: int) -> list[Candidate]:
    """Return so many of the images, which depend on the seed and their ids alone."""
    return sorted(images, key=lambda one: hashlib.blake2b(f"{seed}/{one.id}".encode(), digest_size=8).digest())[:number]
