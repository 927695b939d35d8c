"""How good each model is for its size and for the time that it takes."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Block, Section, Words
from taskdistill.flows.reports.page.charts import WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.latency import timed
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.results import parameters, score_rows
from taskdistill.tasks.functional.comparison import EITHER_WAY

Rows = Sequence[dict[str, Any]]


def size(subject: Subject) -> Section | None:
    """Draw score against parameters and against latency; None where models tell of neither."""
    rows = _rows(subject)
    if not rows:
        return None
    known = [row for row in rows if row["parameters"]]
    charts = _against(subject, known, "parameters", "million parameters")
    times = timed(subject)
    missing: list[Block] = [Words(sentence) for sentence in times.missing]
    if not times.by_model:
        return Section("Size", [*charts, *missing[:1]]) if charts else None
    of_time = [
        row | {"latency": latency.p50_ms, "words": f"{row['words']}, {latency.p50_ms:.1f} ms"}
        for row in rows if (latency := times.by_model.get(row["model"]))
    ]  # fmt: skip
    return Section("Size", [*charts, *_against(subject, of_time, "latency", "ms for one image"), times.table, *missing])


def _against(subject: Subject, rows: Rows, column: str, title: str) -> list[Block]:
    """Draw the score of models against something that they cost; nothing where it is the same for all."""
    if len({row[column] for row in rows}) < 2:
        return []
    metric = score_metric(subject.results[0], subject.store)
    score = f"{metric.heading} on {SPLIT} {metric.unit}".rstrip()
    x = alt.X(f"{column}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=30))
    base = alt.Chart(data_of(rows)).encode(x=x, color=coloured(subject.by_model, [row["model"] for row in rows]))
    whiskers = base.mark_rule(opacity=0.6).encode(
        y=alt.Y("low:Q", title=score, scale=alt.Scale(zero=False)), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(y="score:Q", description="words:N")
    caption = f"{score} against {title}, with two standard errors either way."
    return [drawn(alt.layer(whiskers, points).properties(width=WIDTH, height=240), caption)]


def _rows(subject: Subject) -> list[dict[str, Any]]:
    found, sizes = [], parameters(subject.results, subject.store)
    metric = score_metric(subject.results[0], subject.store) if subject.results else None
    for model, seeds in subject.by_model.items():
        of_test = [row for row in score_rows(seeds, subject.store)
                   if metric and row["metric"] == metric.name and row["split"] == SPLIT]  # fmt: skip
        if metric and of_test:
            score = statistics.mean(row["value"] for row in of_test)
            error = statistics.mean(row["standard_error"] or math.nan for row in of_test)
            reach = 0.0 if math.isnan(error) else EITHER_WAY * error
            millions = (sizes.get(model) or 0) / 1e6
            how_large = f", {millions:.2f} M parameters" if millions else ""
            found.append({
                "model": model, "parameters": millions, "score": score * metric.scale,
                "low": (score - reach) * metric.scale, "high": (score + reach) * metric.scale,
                "words": f"{model}: {metric.in_words(score)}{how_large}",
            })  # fmt: skip
    return found
