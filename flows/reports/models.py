"""The models of a store, told apart: role, network, preset, seed, temperature, alpha, and what each scored."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.models import facts_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.tasks.deploy.temperature import evaluations_of
from taskdistill.tasks.problems.metrics import metrics_of, undeclared

SPLITS = ("val", "test")
COLUMNS = ("artifact", "role", "network", "preset", "seed", "T", "alpha", *SPLITS, "made (UTC)", "label")


def model_row(store: ArtifactStore, model: ArtifactRef, evaluation: ArtifactRef | None) -> dict[str, Any]:
    """Return what is known of a model as plain JSON values; scores by split where it was scored."""
    facts = facts_of(store.manifest(model))
    return {
        "role": facts.role,
        "network": facts.network,
        "preset": facts.preset,
        "seed": facts.seed,
        "temperature": facts.temperature,
        "alpha": facts.alpha,
        "learnt_from": facts.images,
        "scores": _scores(store, evaluation),
    }


def model_rows(store: ArtifactStore, models: Sequence[ArtifactRef]) -> dict[ArtifactRef, dict[str, Any]]:
    """Return a row for each model, looking through the evaluations once."""
    evaluations = evaluations_of(store, models)
    return {model: model_row(store, model, evaluations.get(model)) for model in models}


def models_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a line for each row of `list model`: those of `model_row` with reference, made and label."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=column in ("artifact", *SPLITS), justify=_side(column))
    for row in rows:
        table.add_row(
            ArtifactRef.parse(row["reference"]).short,
            row["role"],
            row["network"],
            row["preset"],
            *(_written(row[name]) for name in ("seed", "temperature", "alpha")),
            *(row["scores"].get(split, {}).get("words", "") for split in SPLITS),
            row["made"].replace("T", " ")[:16],
            row["label"],
        )
    return table


def result_of(store: ArtifactStore, model: ArtifactRef, evaluation: ArtifactRef) -> ModelResult:
    """Return a model as a line of a table of scores."""
    facts = facts_of(store.manifest(model))
    return ModelResult(facts.role, facts.seed, evaluation, model)


def _side(column: str) -> Any:
    return "right" if column in ("seed", "T", "alpha", *SPLITS) else "left"


def _scores(store: ArtifactStore, evaluation: ArtifactRef | None) -> dict[str, Any]:
    """Return the score of each split by the metric that models are chosen by, and as it is written."""
    if evaluation is None:
        return {}
    manifest = store.manifest(evaluation)
    summary = EvaluationSummary.of(manifest)
    declared = {metric.name: metric for metric in metrics_of(manifest.recipe["config"].get("problem", ""))}
    metric = declared.get(summary.score_name, undeclared(summary.score_name))
    return {
        split: {"metric": metric.name, "value": found[metric.name], "words": metric.in_words(found[metric.name])}
        for split, found in summary.scores.items()
        if metric.name in found
    }


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
