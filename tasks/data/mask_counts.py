"""How many pixels and images of each class the masks of each split hold, and what these counts do not allow.

Shape letters: S classes that a mask shows.
"""

import os.path
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.candidates import Candidate, DatasetError, some
from taskdistill.tasks.data.counts import SPLITS
from taskdistill.tasks.data.label_tables import IGNORED
from taskdistill.tasks.data.mask_survey import Shown

_LOGGED = 30
"""Classes that are listed one by one in the log."""

OfSplits = dict[str, dict[str, int]]
"""Class -> split -> number."""


class MaskCounts(NamedTuple):
    """Of the masks that can be used."""

    images: OfSplits
    """Images that show the class."""
    pixels: OfSplits
    pixels_of_images: OfSplits
    """Pixels of any class in the images that show this one."""
    ignored: dict[str, int]
    """Split -> pixels that are ignored."""
    all_ignored: list[str]
    """Ids of images whose mask is ignored throughout."""

    def summary(self) -> IngestSummary:
        return IngestSummary(
            counts=self.images,
            pixels=self.pixels,
            pixels_of_images=self.pixels_of_images,
            ignored_pixels=self.ignored,
        )


def count_masks(masks: Sequence[Shown], split_of: Mapping[str, str], names: Sequence[str]) -> MaskCounts:
    """Count what masks show of the classes of these names; of images that have a split alone."""
    images: Counter[tuple[int, str]] = Counter()
    pixels: Counter[tuple[int, str]] = Counter()
    pixels_of_images: Counter[tuple[int, str]] = Counter()
    all_ignored = []
    for one in masks:
        if (split := split_of.get(one.id)) is None:
            continue
        shown = dict(zip(one.classes_S.tolist(), one.pixels_S.tolist(), strict=True))
        num_known = sum(number for of, number in shown.items() if of != IGNORED)
        for of, number in shown.items():
            images[of, split] += 1
            pixels[of, split] += number
            pixels_of_images[of, split] += num_known
        if shown.keys() == {IGNORED}:
            all_ignored.append(one.id)

    def by_name(found: Mapping[tuple[int, str], int]) -> OfSplits:
        return {name: {split: found[number, split] for split in SPLITS} for number, name in enumerate(names)}

    ignored = {split: pixels[IGNORED, split] for split in SPLITS}
    return MaskCounts(by_name(images), by_name(pixels), by_name(pixels_of_images), ignored, all_ignored)


def check_counts(
    counts: MaskCounts, candidates: Sequence[Candidate], *, are_named: bool, of_one_class: str = ""
) -> None:
    """Raise DatasetError where these masks teach nothing, or their classes are probably wrong.

    `of_one_class` is a sentence to add where one class alone is found.
    """
    ignored = set(counts.all_ignored)
    for split in SPLITS:
        ids = [one.id for one in candidates if one.split == split]
        if ids and ignored.issuperset(ids):
            raise DatasetError(
                f"all {len(ids)} masks of {split} are ignored throughout, such as that of {ids[0]!r}: they are "
                "placeholders, as stand for masks that a benchmark keeps to itself, or data.labels does not fit. "
                f"Leave these images out, with --set data.left_out_images=[{_pattern(ids)}], or correct data.labels"
            )
    in_train = [name for name, of_split in counts.pixels.items() if of_split["train"]]
    if len(in_train) < 2:
        raise DatasetError(
            f"the masks of train hold {'one class alone, ' + repr(in_train[0]) if in_train else 'no class'}: there is "
            "nothing to tell apart; look at one of them, and at data.labels and data.ignored_values"
            f"{'. ' if of_one_class else ''}{of_one_class}"
        )
    strangers = [name for name, of_split in counts.pixels.items() if not of_split["train"] and any(of_split.values())]
    if strangers and not are_named:
        at = [split for split in SPLITS if any(counts.pixels[name][split] for name in strangers)]
        raise DatasetError(
            f"{some(strangers)} is in masks of {' and '.join(at)} and in none of train, which has "
            f"{some(in_train, 20)}: the lists of classes of the splits differ. Where they are right, name the classes "
            "(data.labels): then it is only warned of"
        )


def remarks(counts: MaskCounts) -> list[str]:
    """Return a sentence for each thing that a person should know of these masks."""
    said = []
    missing: defaultdict[str, list[str]] = defaultdict(list)
    totals = {split: counts.ignored[split] + sum(of[split] for of in counts.pixels.values()) for split in SPLITS}
    for name, of_split in counts.pixels.items():
        for split in SPLITS:
            if totals[split] and not of_split[split]:
                missing[split].append(name)
    for split, names in missing.items():
        what = "they cannot be learnt" if split == "train" else "no score tells of them"
        said.append(f"{split} has no pixel of {len(names)} of {len(counts.pixels)} classes, so {what}: {some(names)}")
    if counts.all_ignored:
        said.append(
            f"{counted(len(counts.all_ignored), 'mask is', 'masks are')} ignored throughout, and nothing is learnt "
            f"there, such as that of {some(counts.all_ignored, 1)}"
        )
    shares = [
        f"{split} {counts.ignored[split] / total:.1%}" for split, total in totals.items() if counts.ignored[split]
    ]
    return [*said, f"ignored pixels: {', '.join(shares)}"] if shares else said


def listed(counts: MaskCounts) -> list[str]:
    """Return a line for each class: its share of the pixels of train that are not ignored, and its images."""
    total = sum(of_split["train"] for of_split in counts.pixels.values())
    rarest = sorted(counts.pixels, key=lambda name: counts.pixels[name]["train"])[:_LOGGED]
    lines = [
        f"{name}: {counts.pixels[name]['train'] / max(total, 1):.2%} of the pixels of train; images "
        + ", ".join(f"{split} {number}" for split, number in counts.images[name].items())
        for name in counts.pixels
        if name in rarest
    ]
    more = len(counts.pixels) - len(rarest)
    return [*lines, f"and {more} classes with more pixels"] if more else lines


def _pattern(ids: Sequence[str]) -> str:
    """Return a pattern of paths that fits all of these, by what they begin with."""
    folder = os.path.commonpath([one.rpartition("/")[0] for one in ids])
    return f"{folder}/*" if folder else ids[0]
