"""The charts of a study: score against size and latency, and the learning curves of all students, by factor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from taskdistill.configs.study import short_name
from taskdistill.flows.pipeline.study import in_words
from taskdistill.flows.reports.page.blocks import Chart, named, plain
from taskdistill.flows.reports.page.charts import HEIGHT, MUTED, WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.curves import curve_of, mean_curves
from taskdistill.flows.reports.shipping import two_errors_around
from taskdistill.flows.reports.study_choice import candidates, pareto
from taskdistill.flows.reports.study_rows import CHOSEN_ON, StudyRow, StudyRows
from taskdistill.storage.store import ArtifactStore

MAX_THIN = 200
"""Curves of one chart that are drawn one by one; of more the means alone."""

Row = dict[str, Any]


def cost_charts(rows: StudyRows) -> Iterator[Chart]:
    """Draw the score on validation against each cost that models differ in."""
    shown = candidates(rows.all)
    sizes = {id(row): row.parameters / 1e6 for row in shown if row.parameters}
    latencies = {id(row): row.latency_ms for row in shown if row.latency_ms}
    front = pareto(rows.all)
    if len(set(sizes.values())) > 1:
        yield _against(shown, sizes, "million parameters", front)
    if len(set(latencies.values())) > 1:
        yield _against(shown, latencies, "ms for one image", [])


def _against(shown: Sequence[StudyRow], costs: Mapping[int, float], title: str, front: Sequence[StudyRow]) -> Chart:
    """Draw the score of each row against what it costs; costs are by the id of the row."""
    metric, found = shown[0].metric, [_point(row, costs[id(row)], title) for row in shown if id(row) in costs]
    scored = f"{metric.heading} on validation {metric.unit}".rstrip()
    models = list(dict.fromkeys(row["model"] for row in found))
    x = alt.X("cost:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=30))
    y = alt.Y("score:Q", title=scored, scale=alt.Scale(zero=False))
    base = alt.Chart(data_of(found)).encode(x=x, color=coloured(models, models))
    low = alt.Y("low:Q", title=scored, scale=alt.Scale(zero=False))
    whiskers = base.mark_rule(opacity=0.5).encode(y=low, y2="high:Q")
    points = base.mark_point(size=90, opacity=1).encode(y=y, description="words:N")
    whole = points.mark_point(size=90, filled=True, opacity=1).transform_filter("!datum.is_stopped")
    layers = [whiskers, points, whole]
    told = "with two standard errors either way, hollow what was stopped"
    if len(front) > 1:
        steps = [_point(row, costs[id(row)], title) for row in front]
        line = alt.Chart(data_of(steps)).mark_line(interpolate="step-after", color=MUTED, strokeDash=[6, 4])
        layers = [line.encode(x=x, y=y, order="cost:Q"), *layers]
        told += "; dashed: no smaller model is as good"
    return drawn(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), f"{scored} against {title}, {told}.")


def _point(row: StudyRow, cost: float, title: str) -> Row:
    metric, spread = row.metric, row.spreads[CHOSEN_ON]
    low, high = two_errors_around(metric, spread.mean, spread.standard_error) or (spread.mean, spread.mean)
    return {
        "model": row.model, "cost": cost, "score": spread.mean * metric.scale, "is_stopped": row.is_stopped,
        "low": low * metric.scale, "high": high * metric.scale,
        "words": plain(f"{row}: {metric.in_words(spread.mean)}, {cost:.3g} {title}"),
    }  # fmt: skip


def curve_charts(rows: StudyRows, store: ArtifactStore) -> Iterator[Chart]:
    """Draw the learning curves of each kind of student once for each factor that it depends on, coloured by level."""
    students = [row for row in rows.all if row.is_student]
    curves = {id(row): [point for result in row.results for point in curve_of(result, store)] for row in students}
    for model in dict.fromkeys(row.model for row in students):
        for factor in rows.factors:
            by_level = [row for row in students if row.model == model and factor in row.levels]
            points = [point for row in by_level for point in _coloured_by(factor, row, curves[id(row)])]
            if len({point["model"] for point in points}) > 1:
                yield _curves(points, f"{model} by {short_name(factor, rows.factors)}", by_level[0])


def _coloured_by(factor: str, row: StudyRow, curve: Sequence[Row]) -> Iterator[Row]:
    """Yield the points of a row's curves, called by its level, each curve with a name of its own."""
    level = named(row.levels[factor] or "as it is")
    others = plain(in_words(row.levels))
    for point in curve:
        words = f"{others}, seed {point['seed']}: {point['score']:.{row.metric.digits}f} at step {point['step']}"
        yield {"model": level, "curve": f"{others} {point['seed']}", "step": point["step"], "score": point["score"],
               "is_kept": point["is_kept"], "words": words}  # fmt: skip


def _curves(points: Sequence[Row], subject: str, row: StudyRow) -> Chart:
    metric = row.metric
    title = f"{metric.heading} on validation {metric.unit}".rstrip()
    levels = list(dict.fromkeys(point["model"] for point in points))
    x, colour = alt.X("step:Q", title="optimiser step"), coloured(levels, levels)
    y = alt.Y("score:Q", title=title, scale=alt.Scale(zero=False))
    bold = alt.Chart(data_of(mean_curves(points))).mark_line(strokeWidth=3).encode(x=x, y=y, color=colour)
    layers, told = [bold], "the mean over all points and seeds of a level bold"
    if len({point["curve"] for point in points}) <= MAX_THIN:
        base = alt.Chart(data_of(points)).encode(x=x, y=y, color=colour)
        thin = base.mark_line(strokeWidth=1, opacity=0.4).encode(detail="curve:N")
        kept = base.mark_point(size=40, filled=True, opacity=0.8).encode(description="words:N")
        layers = [thin, bold, kept.transform_filter("datum.is_kept")]
        told = f"each seed thin, {told}, a dot where the weights were kept"
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return drawn(chart, f"{subject}: {metric.heading} on validation by step, {told}.")
