"""Heads of a probe that were each trained without one fold of the images, so that there is one for every image that did
not see it.

    folds.parquet               the fold of each training and each validation image
    head-fold0.safetensors ...  head k saw no image of fold k, and no validation image, as no head does
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.tables import FOLDS, read_table, write_table
from taskdistill.storage.weights import ModelDescription, write_tensors
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.models.task_model import as_arrays, load_head

TABLE = "folds.parquet"


class FoldHeads(NamedTuple):
    """The heads by fold, ready for inference, and the fold of each training and each validation image by its id."""

    heads: list[nn.Module]
    fold_of: dict[str, int]


def write_fold_head(draft: Path, fold: int, head: nn.Module) -> None:
    """Write the head that saw no image of a fold."""
    write_tensors(draft / _weights(fold), as_arrays(head.state_dict()))


def write_folds(draft: Path, fold_of: Mapping[str, int]) -> None:
    """Write which fold each image is in."""
    write_table(draft / TABLE, FOLDS, [{"id": image_id, "fold": fold} for image_id, fold in fold_of.items()])


def read_folds(folder: Path) -> dict[str, int]:
    """Return the fold of each image by its id, of a finished probe; CacheMismatchError where it has no folds."""
    if TABLE not in Manifest.read(folder).files:
        raise CacheMismatchError(
            f"probe@{folder.name[:12]} has no heads that left out a fold of the images: set probe.folds (for a "
            "student's, student_probe.folds) to 2 or more, such as 5, and probe again"
        )
    return {row["id"]: row["fold"] for row in read_table(folder / TABLE)}


def read_fold_heads(folder: Path, description: ModelDescription, blocks: Sequence[Block]) -> FoldHeads:
    """Read the heads of a finished probe that each left out a fold, for an encoder with these blocks.

    Raises CacheMismatchError where it was made without folds, and ModelError where a block that they see is missing.
    """
    fold_of = read_folds(folder)
    folds = range(max(fold_of.values()) + 1)
    described = [description.model_copy(update={"weights": _weights(fold)}) for fold in folds]
    return FoldHeads([load_head(folder, one, blocks).eval() for one in described], fold_of)


def _weights(fold: int) -> str:
    return f"head-fold{fold}.safetensors"
