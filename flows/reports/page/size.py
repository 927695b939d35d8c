"""How good each model is for its size."""

import math
import statistics
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Section
from taskdistill.flows.reports.page.charts import WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.results import parameters, score_rows
from taskdistill.tasks.functional.comparison import CLEAR


def size(subject: Subject) -> Section | None:
    """Draw score against parameters; None where fewer than two models say how large they are."""
    rows = _rows(subject)
    if len({row["parameters"] for row in rows}) < 2:
        return None
    metric = score_metric(subject.results[0], subject.store)
    title = f"{metric.heading} on {SPLIT} {metric.unit}".rstrip()
    x = alt.X("parameters:Q", title="million parameters", scale=alt.Scale(type="log", nice=False, padding=30))
    colours = coloured(subject.by_model, [row["model"] for row in rows])
    base = alt.Chart(data_of(rows)).encode(x=x, color=colours)
    whiskers = base.mark_rule(opacity=0.6).encode(
        y=alt.Y("low:Q", title=title, scale=alt.Scale(zero=False)), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(y="score:Q", description="words:N")
    caption = f"{title} against the number of parameters, with two standard errors either way."
    return Section("Size", [drawn(alt.layer(whiskers, points).properties(width=WIDTH, height=240), caption)])


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
