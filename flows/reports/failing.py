"""Which classes a model fails on, of problems that name whole images: from the table of its predictions."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.table import Table

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparing import SCORE, score_metric
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import has_column, read_column

SPLIT = "test"
MAX_CLASSES = 40
"""Classes in the table: of more, those it is worst at."""
FAILS_BELOW = 0.5
"""Share of the mean score below which a class is named."""


def failing(result: ModelResult, store: ArtifactStore, names: Sequence[str]) -> list[str]:
    """Return a table of the classes, the worst first, with a sentence that names those it fails on; nothing where the
    evaluation does not say of each image.
    """
    path = store.path(result.evaluation) / f"{SPLIT}-predictions.parquet"
    if not path.is_file() or not all(has_column(path, column) for column in ("label", SCORE)):
        return []
    labels, scores = read_column(path, "label"), read_column(path, SCORE)
    predicted = read_column(path, "predicted") if has_column(path, "predicted") else labels
    of_class, taken = defaultdict[int, list[float]](list), defaultdict[int, Counter[int]](Counter)
    for label, score, answer in zip(labels, scores, predicted, strict=True):
        if label is not None and 0 <= label < len(names):
            of_class[label].append(score)
            taken[label].update([answer] if answer != label else [])
    if not of_class:
        return []
    metric = score_metric(result, store)
    means = {label: sum(of_label) / len(of_label) for label, of_label in of_class.items()}
    worst = sorted(means, key=lambda label: (means[label], label))
    table = Table()
    for column in (
        "class",
        f"{metric.heading} ({metric.unit})" if metric.unit else metric.heading,
        "images",
        "mostly taken for",
    ):
        table.add_column(column)
    for label in worst[:MAX_CLASSES]:
        mistaken = ", ".join(f"{names[other]} ({count})" for other, count in taken[label].most_common(2))
        table.add_row(names[label], metric.number(means[label]), str(len(of_class[label])), mistaken)
    mean = sum(scores) / len(scores)
    failed = [names[label] for label in worst if means[label] < FAILS_BELOW * mean]
    said = (
        f"It fails on {', '.join(failed)}: less than half of the mean of all images."
        if failed
        else (f"On no class is it below half of the mean of all images ({metric.in_words(mean)}).")
    )
    more = f" Of {len(worst)} classes the {MAX_CLASSES} worst are shown." if len(worst) > MAX_CLASSES else ""
    return [said + more, "", as_markdown(table)]
