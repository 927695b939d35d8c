"""How good each model is for its size and for the time that it takes."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Block, Section, Words
from taskdistill.flows.reports.page.charts import WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.latency import timed
from taskdistill.flows.reports.page.standing import scored_models
from taskdistill.flows.reports.page.subject import SPLIT, Subject

Rows = Sequence[dict[str, Any]]


def size(subject: Subject) -> Section | None:
    """Draw score against parameters and against latency; None where models tell of neither."""
    rows = scored_models(subject)
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
