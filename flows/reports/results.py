"""Scores as rows for programs and as a table for people."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparing import declared_metrics, score_metric
from taskdistill.flows.reports.calibrated import HEADING, calibrated_column
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, NetworkSummary
from taskdistill.tasks.problems.metrics import Metric, undeclared

Rows = Sequence[Mapping[str, Any]]
NETWORK = ("model", "probe", "features")
"""Roles of inputs by which one comes from a model to the network it is made of."""


def score_rows(results: Sequence[ModelResult], store: ArtifactStore) -> list[dict[str, Any]]:
    """One row for each model, seed, split and metric; the standard error is None where the metric has none."""
    return [
        {
            "model": result.model,
            "seed": result.seed,
            "split": split,
            "metric": metric,
            "value": value,
            "standard_error": summary.standard_errors.get(split, {}).get(metric),
            "images": summary.num_images[split],
            "reference": str(result.evaluation),
        }
        for result in results
        for summary in [EvaluationSummary.of(store.manifest(result.evaluation))]
        for split, scores in summary.scores.items()
        for metric, value in scores.items()
    ]


def _table_metrics(results: Sequence[ModelResult], rows: Rows, store: ArtifactStore) -> list[Metric]:
    """Return the metrics that have a column: those that the problem wants shown, or all that were found."""
    declared = declared_metrics(results, store)
    known = list(dict.fromkeys(row["metric"] for row in rows))
    shown = [metric for metric in declared.values() if metric.is_shown and metric.name in known]
    return shown or [declared.get(name, undeclared(name)) for name in known]


def score_table(results: Sequence[ModelResult], store: ArtifactStore, title: str) -> Table:
    """A line for each model and split: mean and, over several seeds, standard deviation of each metric, and the
    standard error that one value of it has on so many images.
    """
    rows = score_rows(results, store)
    found = defaultdict(list)
    for row in rows:
        found[row["model"], row["split"], row["metric"]].append(row)
    metrics = _table_metrics(results, rows, store)
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("split", no_wrap=True)
    calibrated = calibrated_column(results, store)
    for metric in metrics:
        table.add_column(metric.heading, justify="right", no_wrap=True)
        if calibrated and metric.name == calibrated.metric:
            table.add_column(HEADING, justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    of_models = sizes(results, store)
    for split in dict.fromkeys(row["split"] for row in rows):
        for model in dict.fromkeys(row["model"] for row in rows):
            cells = []
            for metric in metrics:
                cells.append(score_cell(metric, found[model, split, metric.name]))
                if calibrated and metric.name == calibrated.metric:
                    cells.append(calibrated.cells.get((model, split), ""))
            table.add_row(model, split, *cells, of_models.get(model, ""))
        table.add_section()
    return table


def score_notes(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Say what the numbers of the table mean: how many images and seeds they come from."""
    images = {row["split"]: row["images"] for row in score_rows(results, store)}
    counts = ", ".join(f"{count} {split}" for split, count in images.items())
    noun = score_metric(results[0], store).noun if results else "score"
    notes = [f"SE: standard error of one {noun} on so many images ({counts})."]
    seeds = {result.seed for result in results if result.seed is not None}
    if len(seeds) > 1:
        notes.append(f"±: standard deviation over {len(seeds)} seeds.")
    if calibrated := calibrated_column(results, store):
        notes.append(calibrated.note)
    return notes


def score_cell(metric: Metric, rows: Rows) -> str:
    """Write the rows of one metric, a seed each: their mean, its spread over seeds, and the standard error of one."""
    if not rows:
        return ""
    digits = metric.digits
    values = [row["value"] * metric.scale for row in rows]
    errors = [row["standard_error"] * metric.scale for row in rows if row["standard_error"] is not None]
    parts = [f"{statistics.mean(values):.{digits}f}"]
    if len(values) > 1:
        parts.append(f"±{statistics.stdev(values):.{digits}f}")
    if errors and metric.shows_error:
        parts.append(f"(SE {statistics.mean(errors):.{digits}f})")
    return " ".join(parts)


def sizes(results: Sequence[ModelResult], store: ArtifactStore) -> dict[str, str]:
    """Return the parameters of each model in words; of those that say."""
    return {model: f"{count / 1e6:.2f} M" for model, count in parameters(results, store).items()}


def parameters(results: Sequence[ModelResult], store: ArtifactStore) -> dict[str, int]:
    """Return the parameters of each model, as noted by the nearest artifact that knows them."""
    found = {result.model: parameters_of(result, store) for result in results}
    return {model: count for model, count in found.items() if count is not None}


def parameters_of(result: ModelResult, store: ArtifactStore) -> int | None:
    """Return the parameters of a model, as the summary nearest to it says; None where no summary does."""
    refs = [result.evaluation, *_lineage(store, result.artifact)]
    found = (NetworkSummary.of(store.manifest(ref)).parameters for ref in refs)
    return next((value for value in found if value is not None), None)


def _lineage(store: ArtifactStore, ref: ArtifactRef) -> Iterator[ArtifactRef]:
    """The model and what its network was taken from, the nearest first."""
    waiting = [ref]
    while waiting:
        current = waiting.pop(0)
        if current in store:
            yield current
            inputs = store.manifest(current).input_refs
            waiting += [inputs[role] for role in NETWORK if role in inputs]


def score_markdown(results: Sequence[ModelResult], store: ArtifactStore, title: str) -> str:
    """The same table as Markdown, for reports, with its notes and the artifact of each model below it."""
    models = [f"- {result.model}{_seed(result)}: `{result.artifact}`" for result in results]
    table, notes = as_markdown(score_table(results, store, title)), " ".join(score_notes(results, store))
    return "\n".join([f"# {title}", "", table, "", notes, "", *models])


def _seed(result: ModelResult) -> str:
    return "" if result.seed is None else f", seed {result.seed}"
