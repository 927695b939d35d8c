"""Whether models are right as often as they say, and how often they are where they answer only when they are sure."""

from typing import Any

import altair as alt

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.page.blocks import Chart, Section, Words
from taskdistill.flows.reports.page.charts import MUTED, TEXT, WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.tasks.deploy.temperature import fitted_in, problem_of
from taskdistill.tasks.functional.reliability import coverage_curve, reliability
from taskdistill.tasks.problems.calibrating import Confidence, confidence_of

BINS, POINTS = 15, 60
_RAW, _CALIBRATED = "as trained", "calibrated"


def sureness(subject: Subject) -> Section | None:
    """Draw reliability and coverage; None where nothing tells how sure the models are."""
    shown = [model for model in (subject.control, subject.chosen and subject.chosen.model, subject.teacher) if model]
    results = [subject.chosen if subject.chosen and model == subject.chosen.model else subject.by_model[model][0]
               for model in dict.fromkeys(shown)]  # fmt: skip
    known = [(result, found) for result in results if result and (found := _confidence(subject, result))]
    if not known:
        return None
    words = (
        "A reliable model lies on the diagonal: of the answers it is 80 % sure of, 80 % are right. Below it lies one "
        "that is too sure. Calibrated, for the chosen student: its outputs divided by a temperature that is "
        "fitted on validation, as predictions and exports use it."
    )
    return Section("Reliability", [Words(words), _diagram(subject, known), _coverage(subject, known)])


def _confidence(subject: Subject, result: ModelResult) -> Confidence | None:
    folder = subject.store.path(result.evaluation)
    return confidence_of(problem_of(subject.store, result.evaluation), folder, SPLIT)


Known = list[tuple[ModelResult, Confidence]]


def _diagram(subject: Subject, known: Known) -> Chart:
    rows: list[dict[str, Any]] = []
    for result, confidence in known:
        temperatures = {_RAW: 1.0}
        if result == subject.chosen:
            temperatures[_CALIBRATED] = fitted_in(subject.store, result.evaluation)
        for name, temperature in temperatures.items():
            bins = reliability(*confidence.sure_and_right(temperature), BINS)
            rows += [
                {"model": result.model, "which": name, "sure": 100 * sure, "right": 100 * right, "images": int(images),
                 "words": f"{result.model}, {name}: {100 * sure:.0f} % sure, {100 * right:.0f} % right, {images}"}
                for sure, right, images in zip(*(column.tolist() for column in bins), strict=True)
            ]  # fmt: skip
    whole = alt.Scale(domain=[0, 100])
    base = alt.Chart(data_of(rows)).encode(
        x=alt.X("sure:Q", title="sure, %", scale=whole),
        y=alt.Y("right:Q", title="right, %", scale=whole),
        color=coloured(subject.by_model, [result.model for result, _ in known]),
    )
    line = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash(
            "which:N",
            scale=alt.Scale(domain=[_RAW, _CALIBRATED], range=[[1, 0], [4, 3]]),
            legend=alt.Legend(symbolStrokeColor=TEXT),
        )
    )
    size = alt.Size("images:Q", scale=alt.Scale(range=[15, 200]), legend=None)
    points = base.mark_point(filled=True, opacity=0.8).encode(size=size, description="words:N")
    ends = data_of([{"sure": 0, "right": 0}, {"sure": 100, "right": 100}])
    diagonal = alt.Chart(ends).mark_line(color=MUTED, strokeWidth=1).encode(x="sure:Q", y="right:Q")
    caption = "Reliability: how often answers are right, by how sure the model is; larger dots are more images."
    return drawn(alt.layer(diagonal, line, points).properties(width=WIDTH, height=WIDTH * 0.8), caption)


def _coverage(subject: Subject, known: Known) -> Chart:
    rows: list[dict[str, Any]] = []
    for result, confidence in known:
        curve = coverage_curve(*confidence.sure_and_right(1.0), POINTS)
        rows += [
            {"model": result.model, "answered": 100 * share, "right": 100 * right}
            for share, right in zip(curve.coverage_P.tolist(), curve.accuracy_P.tolist(), strict=True)
        ]
    chart = (
        alt.Chart(data_of(rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("answered:Q", title="images answered, the surest first, %", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("right:Q", title="of these answers right, %", scale=alt.Scale(zero=False)),
            color=coloured(subject.by_model, [result.model for result, _ in known]),
        )
    )
    caption = "Coverage: how often answers are right where only the surest are given and the rest is left to people."
    return drawn(chart.properties(width=WIDTH, height=WIDTH * 0.8), caption)
