"""A dataset as far as it is known before any image is decoded: what `plan` prints and what `ingest` begins with."""

import hashlib
import logging
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from taskdistill.configs.choices import DATASET_FORMS, FOUND, load
from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED, IngestConfig, UnlabelledConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.sources import LFS_POINTER
from taskdistill.storage.summaries import IngestSummary
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, some
from taskdistill.tasks.data.chosen_images import chosen
from taskdistill.tasks.data.counts import MAX_CLASSES, Counts, are_labelled, count, described, totals, warnings
from taskdistill.tasks.data.label_tables import LabelTable
from taskdistill.tasks.data.left_out import ODD_NAME, by_reason, is_picture_by_name, most_telling
from taskdistill.tasks.data.masked import is_of_masks, with_unlabelled
from taskdistill.tasks.data.splits import check_splits, class_names, with_splits

if TYPE_CHECKING:
    from taskdistill.tasks.data.mask_survey import MaskSurvey

log = logging.getLogger(__name__)

_LFS_BYTES = range(100, 200)
"""Sizes of Git LFS pointers."""
_ENOUGH_POINTERS = 10


class Dataset(NamedTuple):
    """The images with their classes and splits, and all that is to be reported of them."""

    candidates: list[Candidate]
    """Ordered by id."""
    classes: list[str]
    """In the order of the numbers that stand for them, in labels or in masks."""
    left_out: list[LeftOut]
    made_splits: list[str]
    """A sentence for each split that the dataset did not have."""
    said: list[str]
    """A sentence for each other decision that was taken for the user."""
    labels: LabelTable | None = None
    """What the masks mean, where they are what is learnt."""
    masks: "MaskSurvey | None" = None
    """What they hold, where that had to be looked up to know the classes."""

    @property
    def counts(self) -> Counts:
        return count(self.candidates, self.classes)

    def summary(self) -> IngestSummary:
        """Return what people want to know of it, before its images are read."""
        counts = self.counts
        smallest = set(sorted(counts, key=lambda name: counts[name]["train"])[:MAX_CLASSES])
        return IngestSummary(
            splits=totals(counts) | self._unlabelled(),
            classes=len(self.classes),
            counts={name: counts[name] for name in counts if name in smallest} if are_labelled(counts) else {},
            left_out=by_reason(self.left_out),
            left_out_first=[f"{one.path}: {one.reason}" for one in most_telling(self.left_out)[:10]],
            made_splits=self.made_splits,
            said=[*self.said, *warnings(counts)],
        )

    def described(self) -> str:
        """Return the images of each split, and what is known of the classes."""
        told = described(self.counts)
        if self.labels:
            told = f"{len(self.classes)} classes in masks, images: {told.partition(': ')[2]}"
        return told + "".join(f", {split} {number}" for split, number in self._unlabelled().items())

    def _unlabelled(self) -> dict[str, int]:
        number = sum(one.split == UNLABELLED for one in self.candidates)
        return {UNLABELLED: number} if number else {}


def open_dataset(config: IngestConfig) -> Dataset:
    """Return the dataset, checked by everything but its pixels; DatasetError, or SourceError where files cannot be
    read.
    """
    listing: Listing = load(DATASET_FORMS, config.form)(config)
    said = [*listing.said, *checked_names(config, listing)]
    refuse_lfs_pointers(listing)
    chosen_ones, left_out, moved = chosen(listing.candidates, config)
    listing = listing._replace(candidates=chosen_ones, left_out=[*listing.left_out, *left_out])
    dataset = Dataset(list(listing.candidates), [], list(listing.left_out), [], [*said, *moved])
    if is_of_masks(dataset.candidates, listing.labels):
        dataset = _of_masks(dataset, listing.labels, config)
    classes = class_names(dataset.candidates, dataset.labels.names if dataset.labels else ())
    candidates, made_splits = with_splits(sorted(dataset.candidates), config)
    check_splits(candidates, classes)
    return dataset._replace(candidates=candidates, classes=classes, made_splits=made_splits)


def _of_masks(dataset: Dataset, labels: LabelTable | None, config: IngestConfig) -> Dataset:
    """Return the dataset with what its masks mean, which are looked at where nothing says so."""
    from taskdistill.tasks.data.label_files import labels_of  # tables of a user's own need pyarrow

    candidates, said = with_unlabelled(dataset.candidates)
    labels = None if config.labels == FOUND else labels_of(config) or labels
    masks = None
    if labels is None:
        from taskdistill.tasks.data.mask_survey import (
            survey_masks,  # numpy and Pillow, only where masks must be looked at
        )

        masks = survey_masks(candidates, None, config, RuntimeConfig())
        labels = masks.reading.labels
        said.append(
            f"nothing names the classes, so they are the {len(labels.names)} that the masks hold: "
            f"{some(labels.names)}; data.labels names them"
        )
        said += masks.said
    return dataset._replace(candidates=candidates, said=[*dataset.said, *said], labels=labels, masks=masks)


def keep_listing(draft: Path, dataset: Dataset, num_shards: int) -> None:
    """Write into a draft of an image-set what its shards hold, before the first of them.

    Shards that were begun with other classes, splits or files (by another version of this program), or of which a power
    cut took this record, are made again: their labels could be those of other classes.
    """
    path = draft / "notes" / "listing.json"
    digest = hashlib.sha256()
    for one in dataset.candidates:
        mask = PurePosixPath(one.mask_id or "").name
        digest.update(f"{one.id}\0{one.label}\0{one.split}\0{mask}\n".encode())
    listing = {"classes": dataset.classes, "shards": num_shards, "candidates": digest.hexdigest()}
    if read_json_if_whole(path) == listing:
        return
    if any(path.parent.iterdir()):
        log.warning(
            "this image-set was begun with other classes, splits or files, or the record of them is lost: its shards "
            "are made again"
        )
        shutil.rmtree(path.parent)
        shutil.rmtree(draft / "shards", ignore_errors=True)
        path.parent.mkdir()
    write_json(path, listing)


def size_of(path: Path) -> int:
    """Return the size of a user's file in bytes; SourceError where it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def checked_names(config: IngestConfig | UnlabelledConfig, listing: Listing) -> list[str]:
    """Return what there is to say of pictures whose names nothing could hold; DatasetError for more of them than may be
    set aside.
    """
    odd = [one for one in listing.left_out if one.reason == ODD_NAME and is_picture_by_name(one.path)]
    if not odd:
        return []
    found = counted(len(odd), "picture has a name that is", "pictures have names that are")
    found += f" not UTF-8, such as {some([one.path for one in odd])}"
    if len(odd) > config.max_quarantined_share * (len(listing.candidates) + len(odd)):
        raise DatasetError(
            f"{found}, so that more images cannot be used than max_quarantined_share = "
            f"{config.max_quarantined_share:g} allows: {odd[0].detail}"
        )
    return [f"{found}, and {'is' if len(odd) == 1 else 'are'} left out: {odd[0].detail}"]


def refuse_lfs_pointers(listing: Listing) -> None:
    """Raise DatasetError where files are pointers of Git LFS."""
    pointers = []
    for candidate in listing.candidates:
        if size_of(candidate.path) in _LFS_BYTES and _begins_with(candidate.path, LFS_POINTER):
            pointers.append(candidate.id)
            if len(pointers) == _ENOUGH_POINTERS:
                break
    if pointers:
        at_least = "at least " if len(pointers) == _ENOUGH_POINTERS else ""
        raise DatasetError(
            f"{at_least}{counted(len(pointers), 'file is a pointer', 'files are pointers')} of Git LFS and no picture, "
            f"such as {some(pointers)}: run 'git lfs pull' in the repository they come from, and try again"
        )


def _begins_with(path: Path, begin: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(begin)) == begin
    except OSError as error:
        raise unreadable(path, error) from error
