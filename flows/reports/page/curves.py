"""How the students learnt: the score on validation over the steps, all in one plot."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Section, Words
from taskdistill.flows.reports.page.charts import WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, ModelSummary
from taskdistill.storage.tables import read_table

Row = dict[str, Any]


def curves(subject: Subject) -> Section | None:
    """Draw the curves; None where no student was trained."""
    students = [result for model in subject.students for result in subject.by_model[model]]
    rows = [row for result in students for row in curve_of(result, subject.store)]
    if not rows:
        return None
    metric = score_metric(subject.results[0], subject.store)
    title = f"{metric.heading} on validation {metric.unit}".rstrip()
    base = alt.Chart(data_of(rows)).encode(
        x=alt.X("step:Q", title="optimiser step"),
        y=alt.Y("score:Q", title=title, scale=alt.Scale(zero=False)),
        color=coloured(subject.by_model, [*subject.students, subject.teacher or ""]),
    )
    seeds = base.mark_line(strokeWidth=1, opacity=0.45).encode(detail="seed:N")
    means = alt.Chart(data_of(mean_curves(rows))).mark_line(strokeWidth=3).encode(*_same(base))
    points = base.mark_point(size=80, opacity=1).encode(description="words:N")
    best = points.transform_filter("datum.is_best")
    kept = points.mark_point(size=60, filled=True, opacity=1).transform_filter("datum.is_kept")
    teacher = _teacher(subject, base)
    caption = (
        f"{metric.heading} on validation by step: each seed thin, their mean bold, a ring at the best step, a dot "
        f"where the weights were kept{', the teacher dashed' if teacher else ''}."
    )
    layers = [seeds, means, best, kept, *teacher]
    chart = drawn(alt.layer(*layers).properties(width=WIDTH + 60, height=260), caption)
    return Section("Learning curves", [chart, *_words(subject)])


def _same(base: alt.Chart) -> list[Any]:
    return [base.encoding.x, base.encoding.y, base.encoding.color]


def curve_of(result: ModelResult, store: ArtifactStore) -> list[Row]:
    """Return a row for each validation of one student; none where its artifact has no history."""
    path = store.path(result.artifact) / "history.parquet"
    if not path.is_file():
        return []
    summary, metric = ModelSummary.of(store.manifest(result.artifact)), score_metric(result, store)
    rows = []
    for row in read_table(path):
        if row["val_score"] is not None:
            score = row["val_score"] * metric.scale
            words = f"{result.model}, seed {result.seed}: {score:.{metric.digits}f} at step {row['step']}"
            rows.append({"model": result.model, "seed": result.seed, "step": row["step"], "score": score,
                         "is_kept": row["step"] == summary.kept_step,
                         "is_best": row["step"] == summary.best_step, "words": words})  # fmt: skip
    return rows


def mean_curves(rows: Sequence[Row]) -> list[Row]:
    """Return the mean of each model over its curves, at each step that all of them have."""
    found = defaultdict[tuple[str, int], list[float]](list)
    for row in rows:
        found[row["model"], row["step"]].append(row["score"])
    most = {model: max(len(found[key]) for key in found if key[0] == model) for model, _ in found}
    return [
        {"model": model, "step": step, "score": sum(values) / len(values)}
        for (model, step), values in found.items()
        if len(values) == most[model]
    ]


def _teacher(subject: Subject, base: alt.Chart) -> list[alt.Chart]:
    """Return the teacher's score as a line across; nothing where it was not scored on validation."""
    results = subject.by_model.get(subject.teacher or "", [])
    for result in results[:1]:
        summary, metric = (
            EvaluationSummary.of(subject.store.manifest(result.evaluation)),
            score_metric(result, subject.store),
        )
        score = summary.scores.get("val", {}).get(summary.score_name)
        if score is not None:
            row = {"model": result.model, "score": score * metric.scale}
            rule = alt.Chart(data_of([row])).mark_rule(strokeDash=[6, 4], strokeWidth=2)
            return [rule.encode(base.encoding.y, base.encoding.color)]
    return []


def _words(subject: Subject) -> list[Words]:
    steps = {
        model: [ModelSummary.of(subject.store.manifest(one.artifact)) for one in subject.by_model[model]]
        for model in subject.students
    }
    kept = [
        f"{model} at step {', '.join(str(one.kept_step) for one in found)} of {found[0].steps}"
        for model, found in steps.items()
        if all(one.kept_step is not None for one in found)
    ]
    is_other = any(one.kept_step != one.best_step for found in steps.values() for one in found)
    why = " training.keep says which: the best of many looks at few images is partly luck." if is_other else ""
    return [Words(f"Weights kept: {'; '.join(kept)}.{why}")] if kept else []
