"""What a table of scores shows and a reader may overlook, in words: students that training did not help. And the table
on the screen, with these words under it.

Shape letters: N images, M models compared (one for each seed).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement

from flows.pipeline.chain import START, ModelResult
from flows.reports.chosen import chosen_settings
from flows.reports.results import score_metric, score_notes, score_table
from storage.store import ArtifactStore
from storage.summaries import ModelSummary
from storage.tables import read_column
from tasks.functional.comparison import Difference, paired_difference
from tasks.problems.metrics import PERCENT, Metric

SPLIT = "test"
"""Where students are compared with their start: their weights were chosen on validation."""


WIDE = 1000
"""Columns of a screen on which every table fits."""


def print_scores(console: Console, results: Sequence[ModelResult], store: ArtifactStore, title: str) -> None:
    """Print the table, its notes and the remarks; the table as wide as its numbers need, in a pipe too."""
    table = score_table(results, store, title)
    table.width = Measurement.get(console, console.options.update(width=WIDE), table).maximum
    console.print(table, soft_wrap=True)
    for line in (" ".join(score_notes(results, store)), *remarks(results, store)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def remarks(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Return a sentence for each model that still is the probe it started from, or that ends below it, and a line for
    the settings that were chosen.
    """
    return [*_unchanged(results, store), *_below_start(results, store), *chosen_settings(results, store)]


def _unchanged(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    for result in results:
        model = ModelSummary.of(store.manifest(result.artifact))
        if model.kept_step == 0:
            seed = "" if result.seed is None else f" of seed {result.seed}"
            yield (
                f"{result.model}{seed} is the probe it started from: in {model.steps} steps of training it never "
                "scored higher on validation."
            )


def _below_start(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    """Compare each student, its seeds together, with the probe on the same images."""
    start = next((result for result in results if result.model == START), None)
    if start is None:
        return
    students = defaultdict(list)
    for result in results:
        if result.seed is not None:
            students[result.model].append(_image_scores(result, store))
    reference_N = _image_scores(start, store)
    metric = score_metric(start, store)
    for model, scores_MN in students.items():
        found = paired_difference(scores_MN, reference_N)
        if found.mean < 0:
            seeds = f", mean of {len(scores_MN)} seeds" if len(scores_MN) > 1 else ""
            where = f"on {SPLIT} ({len(reference_N)} images{seeds})"
            yield f"{model} is {_below(found, metric)} {where}: {_meaning(found)}."


def _image_scores(result: ModelResult, store: ArtifactStore) -> list[float]:
    return read_column(store.path(result.evaluation) / f"{SPLIT}-predictions.parquet", "score")


def _below(found: Difference, metric: Metric) -> str:
    unit = "points" if metric.unit == PERCENT else f"in {metric.name}"
    gap, error = (f"{value * metric.scale:.{metric.digits}f}" for value in (-found.mean, found.standard_error))
    return f"{gap} {unit} (SE {error}) below the probe it started from"


def _meaning(found: Difference) -> str:
    if found.is_clear:
        return "training made it worse. Lower training.learning_rate or training.epochs, or use the probe as it is"
    return "within two standard errors, so that the two cannot be told apart on so few images"
