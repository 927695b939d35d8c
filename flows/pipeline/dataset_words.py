"""A dataset in words, before and after work on it: classes, counts, what was left out, and what was decided."""

from collections.abc import Mapping, Sequence

from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.counts import SPLITS

MAX_CLASSES = 12
"""Classes that are listed one by one; of more, the smallest ones are, as those are what may be wrong."""
MAX_REMARKS = 12
_MAX_NAME = 40


def dataset_words(dataset: IngestSummary) -> list[str]:
    """Return the lines that describe a dataset, from `tasks.data.dataset.Dataset.summary` or the summary of an
    image-set, of which older ones know less.
    """
    sizes = dataset.splits
    splits = ", ".join(f"{split} {sizes[split]}" for split in (*SPLITS, UNLABELLED) if sizes.get(split))
    of_classes = f"{sum(sizes.values())} images of {dataset.classes} classes: {splits}"
    lines = [f"{counted(sizes['train'], 'image')} without labels" if sizes.keys() == {"train"} else of_classes]
    lines += _classes(dataset.counts or {}, dataset.classes)
    if dataset.left_out:
        reasons = ", ".join(f"{reason} {count}" for reason, count in dataset.left_out.items())
        examples = "; ".join(map(_plain, dataset.left_out_first[:3]))
        lines.append(f"left out: {reasons} (such as {examples})")
    if dataset.quarantined:
        lines.append(f"set aside: {counted(dataset.quarantined, 'image')} that cannot be used")
    remarks: Sequence[str] = [*dataset.made_splits, *dataset.said]
    lines += [_plain(sentence) for sentence in remarks[:MAX_REMARKS]]
    return [*lines, f"and {len(remarks) - MAX_REMARKS} more"] if len(remarks) > MAX_REMARKS else lines


def words_of_results(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Return the lines that describe what the models were scored on, for reports."""
    images = dict.fromkeys(store.manifest(result.evaluation).input_refs.get("images") for result in results)
    return [line for ref in images if ref for line in dataset_words(IngestSummary.of(store.manifest(ref)))]


def _classes(counts: Mapping[str, Mapping[str, int]], num_classes: int) -> list[str]:
    if not counts:
        return []
    shown = list(counts) if len(counts) <= MAX_CLASSES else sorted(counts, key=lambda name: counts[name]["train"])
    shown = shown[:MAX_CLASSES]
    names = [_short(name) for name in shown]
    width = max(map(len, names))
    rows = [
        f"  {name:{width}s}  " + "  ".join(f"{split} {counts[key].get(split, 0)}" for split in SPLITS)
        for name, key in zip(names, shown, strict=True)
    ]
    more = num_classes - len(shown)
    return (
        [*rows, f"  and {counted(more, 'class', 'classes')} with as many training images or more"] if more > 0 else rows
    )


def _short(name: str) -> str:
    plain = _plain(name)
    return plain if len(plain) <= _MAX_NAME else f"{plain[: _MAX_NAME - 1]}…"


def _plain(text: str) -> str:
    """Return a user's text on one line, without control characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
