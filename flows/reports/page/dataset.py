"""What the models were trained and scored on: counts, decisions that were taken, and images that are there twice."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskdistill.configs.counting import counted
from taskdistill.flows.pipeline.dataset_words import words_of_results
from taskdistill.flows.reports.page.blocks import (
    Block,
    Code,
    Pictures,
    Section,
    Table,
    Words,
    distinct,
    file_name,
    plain,
    short,
)
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.thumbnails import Thumbnails
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import IngestSummary
from taskdistill.storage.tables import read_table
from taskdistill.tasks.data.counts import SPLITS

MAX_CLASSES, MAX_FILES, MAX_GROUPS, MAX_COPIES = 40, 20, 12, 6


def dataset(subject: Subject) -> Section | None:
    """Tell of the image-set that models were scored on; None where the store has it no more."""
    if not subject.images:
        return None
    images = ImageSet.open(subject.store.path(subject.images))
    blocks: list[Block] = [Code("\n".join(map(plain, _without_counts(subject))))]
    blocks += [*_counts(subject, images), *_left_out(subject), *_duplicates(subject, Thumbnails(images))]
    return Section("Data", blocks)


def _without_counts(subject: Subject) -> Iterator[str]:
    """Yield the lines that describe it, but those of single classes, which have a table here."""
    return (line for line in words_of_results(subject.results, subject.store) if not line.startswith("  "))


def _counts(subject: Subject, images: ImageSet) -> Iterator[Block]:
    counts = _counts_of(subject, images)
    if not counts:
        return
    if len(alike := {tuple(of_class.get(split, 0) for split in SPLITS) for of_class in counts.values()}) == 1:
        each = ", ".join(f"{split} {number:,}" for split, number in zip(SPLITS, *alike, strict=True))
        yield Words(f"Each of the {len(counts):,} classes has as many images: {each}.")
        return
    names = sorted(counts, key=lambda name: sum(counts[name].values()))[:MAX_CLASSES]
    rows = [[name, *(f"{counts[name].get(split, 0):,}" for split in SPLITS)] for name in names]
    rest = f" (the {len(names)} smallest of {len(subject.classes)} classes)" if len(subject.classes) > len(rows) else ""
    absent = [name for name in counts if not counts[name].get("test")]
    yield Table(["class", *SPLITS], rows, f"Images of each class and split{rest}, the smallest first.")
    if absent and any(of_class.get("test") for of_class in counts.values()):
        named = ", ".join(absent[:MAX_FILES])
        yield Words(
            f"{counted(len(absent), 'class has', 'classes have')} no image in test, so nothing is known of "
            f"{'it' if len(absent) == 1 else 'them'}: {named}."
        )


def _counts_of(subject: Subject, images: ImageSet) -> dict[str, dict[str, int]]:
    """Count images by what the class is called and split; where images have masks, those that show the class."""
    if (images.labels < 0).all():
        summary = IngestSummary.of(subject.store.manifest(subject.images)) if subject.images else IngestSummary()
        counts = summary.counts or {}
        return dict(zip(distinct([short(name) for name in counts]), counts.values(), strict=True))
    found = Counter(zip(images.labels.tolist(), images.splits.tolist(), strict=True))
    return {name: {split: found[number, split] for split in SPLITS} for number, name in enumerate(subject.labels)}


def _left_out(subject: Subject) -> Iterator[Table]:
    rows = _table(subject, "left-out.parquet")
    if rows:
        shown = [[plain(row["path"]), plain(row["reason"]), plain(row["detail"] or "")] for row in rows[:MAX_FILES]]
        told = f" ({len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
        yield Table(["file", "why", ""], shown, f"Files that are no part of the data{told}.", num_names=3)


def _duplicates(subject: Subject, thumbnails: Thumbnails) -> Iterator[Block]:
    """Show what is there twice; those of several classes or splits first."""
    groups = _table(subject, "duplicates.parquet")
    groups.sort(key=lambda group: (len(set(group["labels"])) < 2, len(set(group["splits"])) < 2))
    if not groups:
        return
    rows, called = [], dict(zip(subject.classes, subject.labels, strict=True))
    for group in groups[:MAX_GROUPS]:
        copies = zip(group["ids"], group["splits"], group["labels"], strict=True)
        shown = [
            thumbnails.picture(image_id, called.get(plain(label or ""), short(label or "")), split, file_name(image_id))
            for image_id, split, label in list(copies)[:MAX_COPIES]
            if image_id in thumbnails
        ]
        rows.append((_what(group), shown))
    yield Words(f"{counted(len(groups), 'group')} of identical files{_some(len(groups), MAX_GROUPS)}:")
    yield Pictures(rows)


def _what(group: Mapping[str, Sequence[str]]) -> str:
    if len(set(group["labels"])) > 1:
        return "contradicting labels"
    return "in several splits" if len(set(group["splits"])) > 1 else "the same image"


def _some(number: int, most: int) -> str:
    return f", of which {most} are shown" if number > most else ""


def _table(subject: Subject, name: str) -> list[dict[str, Any]]:
    folder = subject.store.path(subject.images) if subject.images else None
    return read_table(folder / name) if folder and (folder / name).is_file() else []
