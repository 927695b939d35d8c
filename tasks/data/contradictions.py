"""Byte-identical images: those that carry several labels, before any is decoded, and all of them once they were read.

Only files of the same size can be identical, and few of those have the same end, so that finding them costs little
beside decoding: their last bytes are compared first, and only what is left is read whole.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from taskdistill.configs.counting import counted
from taskdistill.storage.sources import content_digest
from taskdistill.storage.summaries import IngestSummary
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, some
from taskdistill.tasks.data.dataset import Dataset, size_of
from taskdistill.tasks.data.first_look import is_picture
from taskdistill.tasks.data.left_out import CONTRADICTS
from taskdistill.tasks.data.splits import check_splits

log = logging.getLogger(__name__)

_END_BYTES = 4096
_SHOWN_GROUPS = 3

Key = TypeVar("Key")
Group = list[Candidate]


def settle(dataset: Dataset, how: Literal["refuse", "drop", "keep"]) -> Dataset:
    """Return the dataset with its contradictions dropped, or kept and reported; DatasetError where they are refused."""
    groups = contradictions(dataset.candidates)
    if not groups:
        return dataset
    what = (
        f"{sum(map(len, groups))} images, in groups of identical files, carry contradicting labels, such "
        f"as {'; '.join(map(_shown, groups[:_SHOWN_GROUPS]))}"
    )
    if how == "refuse":
        raise DatasetError(
            f"{what}. Correct or remove them, or drop all of them with --set data.contradictions=drop, or keep each "
            "with its label with --set data.contradictions=keep; the image-set then lists all in duplicates.parquet"
        )
    if how == "keep":
        return dataset._replace(said=[*dataset.said, f"{what}; they are kept (data.contradictions)"])
    dropped = {one.id: LeftOut(one.id, CONTRADICTS, _shown(group)) for group in groups for one in group}
    left = [one for one in dataset.candidates if one.id not in dropped]
    check_splits(left, dataset.classes)
    return dataset._replace(
        candidates=left,
        left_out=[*dataset.left_out, *dropped.values()],
        said=[*dataset.said, f"{what}; they are dropped (data.contradictions)"],
    )


def contradictions(candidates: Iterable[Candidate]) -> list[Group]:
    """Return each group of byte-identical images that carry more than one label.

    Files that are no images at all, as failed downloads leave (all empty, or the same web page), tell nothing of
    labels: ingest sets them aside.
    """
    by_size = _several_labels(candidates, lambda one: size_of(one.path))
    by_end = [group for alike in by_size for group in _several_labels(alike, lambda one: _end_of(one.path))]
    same = [group for alike in by_end for group in _several_labels(alike, lambda one: content_digest(one.path))]
    return [group for group in same if is_picture(group[0].path)]


def identical(kept: Sequence[Candidate], digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each group of byte-identical images, given the digest of each id: a row of the table of duplicates."""
    times = Counter(digests[one.id] for one in kept)
    groups = defaultdict[str, Group](list)
    for one in kept:
        sha256 = digests[one.id]
        if times[sha256] > 1:
            groups[sha256].append(one)
    return [
        {
            "sha256": sha256,
            "ids": [one.id for one in group],
            "splits": [one.split for one in group],
            "labels": [one.label for one in group],
        }
        for sha256, group in groups.items()
    ]


def counts_of(duplicates: Sequence[Mapping[str, Any]]) -> IngestSummary:
    """Return how many groups of identical images lie in several splits, carry several labels, or neither; the first two
    are warned of. A group may be both.
    """
    across = [group for group in duplicates if len(set(group["splits"])) > 1]
    contradicting = [group for group in duplicates if len(set(group["labels"])) > 1]
    too_good = "in more than one split, such as %s: scores on them are too good; see duplicates.parquet"
    for groups, verbs, fault in (
        (across, ("appears", "appear"), too_good),
        (contradicting, ("carries", "carry"), "more than one label, such as %s; see duplicates.parquet"),
    ):
        if groups:
            images = counted(len(groups), f"image {verbs[0]}", f"images {verbs[1]}")
            log.warning(f"%s {fault}", images, some(groups[0]["ids"]))
    harmless = sum(len(set(group["splits"])) == len(set(group["labels"])) == 1 for group in duplicates)
    return IngestSummary(
        duplicates_across_splits=len(across),
        contradicting_labels=len(contradicting),
        duplicates_within_splits=harmless,
    )


def _several_labels(candidates: Iterable[Candidate], key: Callable[[Candidate], Key]) -> list[Group]:
    groups: dict[Key, Group] = defaultdict(list)
    for candidate in candidates:
        groups[key(candidate)].append(candidate)
    return [group for group in groups.values() if len({one.label for one in group}) > 1]


def _end_of(path: Path) -> bytes:
    """Return a digest of the last bytes: the bytes themselves, of a million files of one size, would fill memory."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, size_of(path) - _END_BYTES))
            return hashlib.blake2b(file.read(_END_BYTES), digest_size=16).digest()
    except OSError as error:
        raise unreadable(path, error) from error


def _shown(group: Group) -> str:
    return some([f"{one.id} ({one.label}, {one.split})" for one in group])
