"""What a temperature does to how sure the models are: a column of the table of scores, and rows for programs.

The temperature is fitted on validation (`tasks.deploy.temperature`), so validation itself is not shown.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.tasks.deploy.temperature import FITTED_ON, fitted_in, problem_of
from taskdistill.tasks.problems.calibrating import confidence_of
from taskdistill.tasks.problems.metrics import Metric

HEADING = "calibrated"


class Calibrated(NamedTuple):
    """A model on a split that its temperature was not fitted on."""

    result: ModelResult
    split: str
    temperature: float
    metric: Metric
    before: float
    after: float


class CalibratedColumn(NamedTuple):
    """A column of the table of scores: a cell for each model and split, and what it shows."""

    metric: str
    """Name of the metric that it stands behind."""
    cells: dict[tuple[str, str], str]
    note: str


def calibrated(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[Calibrated]:
    """Yield each model on each split but validation; nothing of those without outputs, or not scored there."""
    for result in results:
        splits = EvaluationSummary.of(store.manifest(result.evaluation)).scores
        if FITTED_ON not in splits:
            continue
        temperature, problem = fitted_in(store, result.evaluation), problem_of(store, result.evaluation)
        for split in splits:
            found = confidence_of(problem, store.path(result.evaluation), split)
            if found and split != FITTED_ON:
                yield Calibrated(result, split, temperature, found.metric, found.error(1.0), found.error(temperature))


def calibrated_rows(results: Sequence[ModelResult], store: ArtifactStore) -> list[dict[str, Any]]:
    """One row for each model, seed and split."""
    return [
        {
            "model": one.result.model,
            "seed": one.result.seed,
            "split": one.split,
            "temperature": one.temperature,
            "metric": one.metric.name,
            "before": one.before,
            "after": one.after,
            "reference": str(one.result.artifact),
        }
        for one in calibrated(results, store)
    ]


def calibrated_column(results: Sequence[ModelResult], store: ArtifactStore) -> CalibratedColumn | None:
    """Return the column; None where no model has a temperature."""
    by_row = defaultdict[tuple[str, str], list[Calibrated]](list)
    for one in calibrated(results, store):
        by_row[one.result.model, one.split].append(one)
    if not by_row:
        return None
    every = [one for row in by_row.values() for one in row]
    metric = every[0].metric
    temperatures = "; ".join(
        f"{model} {' '.join(f'{value:.2f}' for value in values)}" for model, values in _temperatures(every).items()
    )
    note = (
        f"{HEADING}: {metric.heading} with outputs divided by a temperature that is fitted on validation, as "
        f"predictions and exports use it ({temperatures})."
    )
    return CalibratedColumn(metric.name, {row: _cell(found) for row, found in by_row.items()}, note)


def _temperatures(every: Sequence[Calibrated]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in {each.result.evaluation: each for each in every}.values():
        found.setdefault(one.result.model, []).append(one.temperature)
    return found


def _cell(found: Sequence[Calibrated]) -> str:
    metric, values = found[0].metric, [one.after for one in found]
    spread = f" ±{metric.number(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{metric.number(statistics.mean(values))}{spread}"
