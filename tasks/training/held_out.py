"""The images that settings are chosen on: validation where it is large enough, else each fold of the training and
validation images in turn.

Shape letters: N images.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from taskdistill.configs.errors import SettingsError
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.training.fold_heads import TABLE, read_fold_heads

log = logging.getLogger(__name__)

MIN_IMAGES, MIN_PER_CLASS = 300, 30
"""Validation images in all, and for each class on average, from which validation is large enough."""
_NAMED = 5
"""Classes that a sentence names."""


class Fold(NamedTuple):
    """Images that a training does not see and is judged on, and those it does see."""

    number: int | None
    """None: the held-out images are the validation split."""
    train_N: npt.NDArray[np.int64]
    """Rows of the image-set."""
    held_out_N: npt.NDArray[np.int64]
    head: nn.Module | None
    """What the student starts with, in place of the probed head, which has seen all training images."""


class HeldOut(NamedTuple):
    """All folds, or the validation split alone."""

    folds: list[Fold]
    of: str
    """The splits they are of, for people."""
    said: list[str]
    """A sentence for what else was decided."""


def held_out(images: ImageSet, num_classes: int, probe: Path, model: TaskModel) -> HeldOut:
    """Choose the held-out images; `model` is the network with the probe's head. Test images are never among them.

    Raises CacheMismatchError where the probe's folds are of other images, SettingsError where nothing can be held out.
    """
    train_N, val_N = images.rows_of("train"), images.rows_of("val")
    has_folds = TABLE in Manifest.read(probe).files
    is_large = len(val_N) >= max(MIN_IMAGES, MIN_PER_CLASS * num_classes)
    if has_folds and not is_large:
        return _folds(images, probe, model)
    if not len(val_N):
        raise SettingsError(
            "there are no validation images to choose settings on, and the student's probe has no folds (those need "
            "cached features: teacher_cache 'features'): set tuning.search to none, or give the dataset a val split"
        )
    said = [] if is_large else [_small(len(val_N), num_classes)]
    return HeldOut([Fold(None, train_N, val_N, None)], "validation", said)


def _small(num_images: int, num_classes: int) -> str:
    return (
        f"{num_images} validation images of {num_classes} classes are few to choose settings on (enough were "
        f"{MIN_IMAGES}, and {MIN_PER_CLASS} for each class), but the student's probe has no folds, as where its "
        "features are not cached: they are used all the same"
    )


def _folds(images: ImageSet, probe: Path, model: TaskModel) -> HeldOut:
    found = read_fold_heads(probe, ModelDescription.read(probe), model.encoder.blocks)
    rows_N = images.rows_of("train", "val")
    if unknown := [images.ids[row] for row in rows_N if images.ids[row] not in found.fold_of]:
        raise CacheMismatchError(
            f"image {unknown[0]!r} and {len(unknown) - 1} others are in no fold of the student's probe: run the probe "
            "on these images first"
        )
    fold_N = np.asarray([found.fold_of[images.ids[row]] for row in rows_N])
    is_train_N = images.splits[rows_N] == "train"
    folds = [
        Fold(number, rows_N[is_train_N & (fold_N != number)], rows_N[fold_N == number], head)
        for number, head in enumerate(found.heads)
    ]
    # Of fewer images than folds, some folds have none.
    usable = [fold for fold in folds if len(fold.train_N) and len(fold.held_out_N)]
    if not usable:
        raise SettingsError(
            f"{len(rows_N)} training and validation images are too few to hold some of them out: set tuning.search to "
            "none"
        )
    missing = [sentence for fold in usable for sentence in _missing(fold, images)]
    return HeldOut(usable, "training and validation", missing)


def _missing(fold: Fold, images: ImageSet) -> list[str]:
    """Say which classes a fold holds out whole: its head has not seen them, so that nothing can get them right."""
    seen = set(images.labels[fold.train_N])
    labels = sorted({int(label) for label in images.labels[fold.held_out_N] if label >= 0} - seen)
    if not labels:
        return []
    names = ", ".join(repr(images.classes[label]) for label in labels[:_NAMED])
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return [f"fold {fold.number} holds out all training images of {names}{more}: there every candidate is wrong"]
