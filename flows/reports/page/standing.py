"""Where each model stands on test: its score, and how far other images would move it."""

import statistics
from typing import Any

import altair as alt

from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.flows.reports.page.blocks import Chart
from taskdistill.flows.reports.page.charts import TEXT, WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.results import parameters, score_rows
from taskdistill.flows.reports.shipping import two_errors_around


def standing(subject: Subject) -> Chart | None:
    """Draw the scores of all models beside each other; None where there are not two."""
    rows = scored_models(subject)
    if len(rows) < 2:
        return None
    metric = score_metric(subject.results[0], subject.store)
    score = f"{metric.heading} on {SPLIT} {metric.unit}".rstrip()
    models = [row["model"] for row in rows]
    base = alt.Chart(data_of(rows)).encode(
        y=alt.Y("model:N", sort=models, title=None), color=coloured(subject.by_model, models).legend(None)
    )
    scale = alt.Scale(zero=False, nice=False, padding=30)
    whiskers = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", title=score, scale=scale), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(x="score:Q", description="words:N")
    numbers = base.mark_text(dy=-13, fontSize=12).encode(x="score:Q", text="number:N", color=alt.value(TEXT))
    # Narrower than other charts, as names stand beside it: on a phone its letters stay large enough to read.
    caption = f"{score} of each model, the mean over seeds, with two standard errors either way."
    return drawn(alt.layer(whiskers, points, numbers).properties(width=WIDTH - 140, height=alt.Step(38)), caption)


def scored_models(subject: Subject) -> list[dict[str, Any]]:
    """Return a row for each model that was scored on test: its score with two standard errors, its size, and both in
    words.
    """
    found, sizes = [], parameters(subject.results, subject.store)
    metric = score_metric(subject.results[0], subject.store) if subject.results else None
    for model, seeds in subject.by_model.items():
        of_test = [row for row in score_rows(seeds, subject.store)
                   if metric and row["metric"] == metric.name and row["split"] == SPLIT]  # fmt: skip
        if metric and of_test:
            score = statistics.mean(row["value"] for row in of_test)
            errors = [row["standard_error"] for row in of_test if row["standard_error"] is not None]
            error = statistics.mean(errors) if errors else None
            low, high = two_errors_around(metric, score, error) or (score, score)
            millions = (sizes.get(model) or 0) / 1e6
            how_large = f", {millions:.2f} M parameters" if millions else ""
            found.append({
                "model": model, "parameters": millions, "score": score * metric.scale,
                "low": low * metric.scale, "high": high * metric.scale,
                "number": metric.number(score), "words": f"{model}: {metric.in_words(score)}{how_large}",
            })  # fmt: skip
    return found
