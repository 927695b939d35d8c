"""What each class adds to a metric that is a mean over classes, model beside model: as rows for programs and as tables
for people. Which metrics these are the problem declares (`tasks.problems.metrics.Metric.of_classes`).
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparing import declared_metrics
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import has_column, read_column
from taskdistill.tasks.problems.metrics import Metric

SPLIT = "test"
"""Whose classes are shown."""


class ClassTable(NamedTuple):
    """A line for each class and a column for each model, and what the numbers mean."""

    table: Table
    notes: str


def class_rows(results: Sequence[ModelResult], store: ArtifactStore) -> list[dict[str, Any]]:
    """One row for each model, seed, split, metric and class; the value is None where a class is not there."""
    return [
        {
            "model": result.model,
            "seed": result.seed,
            "split": split,
            "metric": metric.of_classes,
            "class": name,
            "value": None if math.isnan(value) else value,
        }
        for metric in _metrics(results, store)
        for result in results
        for split in EvaluationSummary.of(store.manifest(result.evaluation)).scores
        for name, value in _values(result.evaluation, split, metric.of_classes, store).items()
    ]


def class_tables(results: Sequence[ModelResult], store: ArtifactStore) -> list[ClassTable]:
    """Return a table for each metric with a column in the table of scores that is a mean over classes."""
    shown = [metric for metric in _metrics(results, store) if metric.is_shown]
    return [found for metric in shown if (found := _table(metric, results, store))]


def _table(metric: Metric, results: Sequence[ModelResult], store: ArtifactStore) -> ClassTable | None:
    """Return none where no evaluation has values of classes."""
    values = defaultdict[tuple[str, str], list[float]](list)
    for result in results:
        for name, value in _values(result.evaluation, SPLIT, metric.of_classes, store).items():
            values[name, result.model].append(value)
    if not values:
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("class", no_wrap=True)
    models = list(dict.fromkeys(model for _, model in values))
    for model in models:
        table.add_column(model, justify="right")
    for name in dict.fromkeys(name for name, _ in values):
        table.add_row(name, *(_cell(metric, values[name, model]) for model in models))
    unit = f" in {metric.unit}" if metric.unit else ""
    seeds = ", mean over seeds" if any(len(of_seeds) > 1 for of_seeds in values.values()) else ""
    return ClassTable(table, f"{metric.of_classes} of each class on {SPLIT}{unit}{seeds}; -: the class is not there.")


def _cell(metric: Metric, values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return metric.number(statistics.mean(known)) if known else "-"


def _metrics(results: Sequence[ModelResult], store: ArtifactStore) -> list[Metric]:
    return [metric for metric in declared_metrics(results, store).values() if metric.of_classes]


def _values(evaluation: ArtifactRef, split: str, column: str, store: ArtifactStore) -> dict[str, float]:
    """Return the value of each class; none where the evaluation has no such table."""
    path = store.path(evaluation) / f"{split}-classes.parquet"
    if not path.is_file() or not has_column(path, column):
        return {}
    return dict(zip(read_column(path, "class"), read_column(path, column), strict=True))
