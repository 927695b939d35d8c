"""How good each model is for its size and for the time that it takes."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Block, Chart, Section, Words
from taskdistill.flows.reports.page.charts import WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.latency import timed
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.results import parameters, score_rows
from taskdistill.tasks.functional.comparison import CLEAR

Rows = Sequence[dict[str, Any]]


def size(subject: Subject) -> Section | None:
    """Draw score against parameters and against latency; None where fewer than two models say how large they are."""
    rows = _rows(subject)
    if len({row["parameters"] for row in rows}) < 2:
        return None
    return Section("Size", [_against(subject, rows, "parameters", "million parameters"), *_times(subject, rows)])


def _times(subject: Subject, rows: Rows) -> list[Block]:
    """Draw score against latency, of the models that can be measured."""
    times = timed(subject)
    if not times.by_model:
        return [Words(times.missing[0])]
    known = [row | {"latency": times.by_model[row["model"]].p50_ms} for row in rows if row["model"] in times.by_model]
    told = [row | {"words": f"{row['words']}, {row['latency']:.1f} ms"} for row in known]
    chart = [_against(subject, told, "latency", "ms for one image")] if told else []
    return [*chart, times.table, *map(Words, times.missing)]


def _against(subject: Subject, rows: Rows, column: str, title: str) -> Chart:
    """Draw the score of models against something that they cost."""
    metric = score_metric(subject.results[0], subject.store)
    score = f"{metric.heading} on {SPLIT} {metric.unit}".rstrip()
    x = alt.X(f"{column}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=30))
    base = alt.Chart(data_of(rows)).encode(x=x, color=coloured(subject.by_model, [row["model"] for row in rows]))
    whiskers = base.mark_rule(opacity=0.6).encode(
        y=alt.Y("low:Q", title=score, scale=alt.Scale(zero=False)), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(y="score:Q", description="words:N")
    caption = f"{score} against {title}, with two standard errors either way."
    return drawn(alt.layer(whiskers, points).properties(width=WIDTH, height=240), caption)


def _rows(subject: Subject) -> list[dict[str, Any]]:
    found, sizes = [], parameters(subject.results, subject.store)
    metric = score_metric(subject.results[0], subject.store) if subject.results else None
    for model, seeds in subject.by_model.items():
        of_test = [row for row in score_rows(seeds, subject.store)
                   if metric and row["metric"] == metric.name and row["split"] == SPLIT]  # fmt: skip
        if metric and of_test and sizes.get(model):
            score = statistics.mean(row["value"] for row in of_test)
            error = statistics.mean(row["standard_error"] or math.nan for row in of_test)
            reach = 0.0 if math.isnan(error) else CLEAR * error
            millions = (sizes[model] or 0) / 1e6
            found.append({
                "model": model, "parameters": millions, "score": score * metric.scale,
                "low": (score - reach) * metric.scale, "high": (score + reach) * metric.scale,
                "words": f"{model}: {metric.in_words(score)}, {millions:.2f} M parameters",
            })  # fmt: skip
    return found
