"""The images on which models that were compared differ. Without torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.comparable import Judged
from taskdistill.flows.reports.compare import labels_of, scores_of
from taskdistill.storage.image_set import class_names_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import has_column, read_column


def image_rows(store: ArtifactStore, models: Sequence[Judged], split: str) -> list[dict[str, Any]]:
    """Return the images on which models have different scores, the largest differences first: id, label, and of each
    model its score and, where images are of one class, its answer; of several seeds the mean and the first seed's.
    """
    first = models[0].evaluations[0]
    table = store.path(first) / f"{split}-predictions.parquet"
    ids = read_column(table, "id")
    scores = np.asarray([_of_each_image(store, model, split).mean(axis=0) for model in models])
    answers = [_answers(store, model.evaluations[0], split) for model in models]
    labels = labels_of(store, models[0], split)
    names = class_names_of(store.path(store.manifest(first).input_refs["images"])) if labels is not None else []
    spread_N = np.nan_to_num(scores.max(axis=0) - scores.min(axis=0))  # of an image that nobody knows there is no score
    rows = []
    for item in np.argsort(-spread_N, kind="stable"):
        if spread_N[item] <= 0:
            break
        row: dict[str, Any] = {"id": ids[item]}
        if labels is not None:
            row["label"] = names[labels[item]]
        for model, of_model, said in zip(models, scores, answers, strict=True):
            row[f"score of {model.name}"] = round(float(of_model[item]), 6)
            if said is not None and labels is not None:
                row[f"answer of {model.name}"] = names[said[item]]
        rows.append(row)
    return rows


def image_table(rows: Sequence[dict[str, Any]], models: Sequence[Judged]) -> Table:
    """Return rows of `image_rows` as they are looked at: of each model what it answers, "=" where that is the
    label, or its score where there are no answers.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    has_labels = any("label" in row for row in rows)
    for heading in ("image", *(["label"] if has_labels else [])):
        table.add_column(heading, overflow="fold")
    for model in models:
        table.add_column(model.heading, justify="left" if has_labels else "right", overflow="fold")
    for row in rows:
        label = [str(row["label"])] if has_labels else []
        table.add_row(str(row["id"]), *label, *(_cell(row, model.name) for model in models))
    return table


def _cell(row: dict[str, Any], model: str) -> str:
    score, answer = row[f"score of {model}"], row.get(f"answer of {model}")
    if answer is None:
        return f"{100 * score:.1f}"
    said = "=" if answer == row["label"] else str(answer)
    is_of_one_seed = score in (0, 1)
    return said if is_of_one_seed else f"{said} (mean of seeds {100 * score:.0f} %)"


def _of_each_image(store: ArtifactStore, model: Judged, split: str) -> npt.NDArray[np.float64]:
    """Return what each seed has on each image taken alone, [M, N]. The mean of `score` is the metric of all images
    together, and where that is a ratio, as mIoU is, the value of one image depends on the others.
    """
    own = f"image_{EvaluationSummary.of(store.manifest(model.evaluations[0])).score_name}"
    tables = [store.path(ref) / f"{split}-predictions.parquet" for ref in model.evaluations]
    if not all(has_column(table, own) for table in tables):
        return scores_of(store, model, split)
    return np.asarray([read_column(table, own) for table in tables], np.float64)


def _answers(store: ArtifactStore, evaluation: ArtifactRef, split: str) -> npt.NDArray[np.int64] | None:
    table = store.path(evaluation) / f"{split}-predictions.parquet"
    return np.asarray(read_column(table, "predicted"), np.int64) if has_column(table, "predicted") else None
