"""Scores as rows for programs and as a table for people."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from flows.chain import Evaluated
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore

TABLE_METRICS = {"top1": "top-1", "ece": "ECE", "teacher_agreement": "as teacher"}
"""What the table shows of classification, with its headings; of other problems it shows every score."""
PERCENT = {"top1", "top5", "mean_class_accuracy", "ece", "teacher_agreement"}


def score_rows(results: Sequence[Evaluated], store: ArtifactStore) -> list[dict[str, Any]]:
    """One row for each model, seed, split and metric."""
    return [
        {
            "model": result.model,
            "seed": result.seed,
            "split": split,
            "metric": metric,
            "value": value,
            "reference": str(result.evaluation),
        }
        for result in results
        for split, scores in store.manifest(result.evaluation).summary["scores"].items()
        for metric, value in scores.items()
    ]


def score_table(results: Sequence[Evaluated], store: ArtifactStore, title: str) -> Table:
    """A line for each model and split: mean and, over several seeds, standard deviation of each metric."""
    rows = score_rows(results, store)
    values = defaultdict(list)
    for row in rows:
        values[row["model"], row["split"], row["metric"]].append(row["value"])
    known = list(dict.fromkeys(row["metric"] for row in rows))
    metrics = [metric for metric in TABLE_METRICS if metric in known] or known
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("split", no_wrap=True)
    for metric in metrics:
        table.add_column(TABLE_METRICS.get(metric, metric), justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("images/s", justify="right", no_wrap=True)
    cost = {result.model: _cost(store, result) for result in results}
    for split in dict.fromkeys(row["split"] for row in rows):
        for model in dict.fromkeys(row["model"] for row in rows):
            cells = [_cell(metric, values[model, split, metric]) for metric in metrics]
            table.add_row(model, split, *cells, *cost[model])
        table.add_section()
    return table


def _cell(metric: str, values: list[float]) -> str:
    if not values:
        return ""
    scale, digits = (100, 1) if metric in PERCENT else (1, 3)
    mean = f"{statistics.mean(values) * scale:.{digits}f}"
    return f"{mean} ±{statistics.stdev(values) * scale:.{digits}f}" if len(values) > 1 else mean


def _cost(store: ArtifactStore, result: Evaluated) -> tuple[str, str]:
    """Parameters and speed, as noted by the nearest artifact that knows them."""
    for ref in _lineage(store, result.evaluation):
        summary = store.manifest(ref).summary
        if "parameters" in summary and "images_per_second" in summary:
            speed = summary["images_per_second"]
            return f"{summary['parameters'] / 1e6:.2f} M", f"{speed:.0f}" if speed else "?"
    return "", ""


def _lineage(store: ArtifactStore, ref: ArtifactRef) -> Iterator[ArtifactRef]:
    """The artifact and everything it was made from, the nearest first."""
    waiting, seen = [ref], set()
    while waiting:
        current = waiting.pop(0)
        if current in store and current not in seen:
            seen.add(current)
            yield current
            waiting += store.manifest(current).input_refs.values()


def score_markdown(results: Sequence[Evaluated], store: ArtifactStore, title: str) -> str:
    """The same table as Markdown, for reports, with the artifact of each model below it."""
    columns = score_table(results, store, title).columns
    rows = [
        [str(column.header) for column in columns],
        [":---" if column.justify == "left" else "---:" for column in columns],
        *zip(*(map(str, column.cells) for column in columns), strict=True),
    ]
    models = [f"- {result.model}{_seed(result)}: `{result.artifact}`" for result in results]
    return "\n".join([f"# {title}", "", *("| " + " | ".join(row) + " |" for row in rows), "", *models])


def _seed(result: Evaluated) -> str:
    return "" if result.seed is None else f", seed {result.seed}"
