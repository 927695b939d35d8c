"""What a dataset would be if there were fewer images, or fewer of them had been labelled; drawn by a seed."""

import math
from collections import Counter, defaultdict

from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.dataset import Dataset
from taskdistill.tasks.data.drawn import drawn
from taskdistill.tasks.data.splits import MIN_TRAIN_IMAGES


def with_fewer_images(dataset: Dataset, config: IngestConfig) -> Dataset:
    """Return the dataset with `data.max_images` images of each split at most, each class with its share, rounded up,
    and no class of train with fewer than it must have. With the same seed fewer are among the more.
    """
    wanted, splits = config.max_images, Counter(one.split for one in dataset.candidates)
    if not wanted or wanted >= max(splits.values()):
        return dataset
    groups = defaultdict(list)
    for one in dataset.candidates:
        groups[one.split, one.label].append(one)
    kept = set[str]()
    for (split, _), images in groups.items():
        share = math.ceil(len(images) * min(1.0, wanted / splits[split]))
        number = max(share, MIN_TRAIN_IMAGES) if split == "train" else share
        kept |= {one.id for one in drawn(images, number, config.labels_seed)}
    said = (
        f"{len(kept)} of {len(dataset.candidates)} images are taken: of each split {wanted} (data.max_images), and "
        "more where each class must have some"
    )
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
