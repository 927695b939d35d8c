"""What distillation does for each class: from the student without a teacher, over the chosen one, to the teacher."""

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import altair as alt
import numpy as np

from taskdistill.flows.reports.classes import class_rows
from taskdistill.flows.reports.page.blocks import Block, Section, Table, Words, distinct, short
from taskdistill.flows.reports.page.charts import MUTED, WIDTH, coloured, data_of, drawn
from taskdistill.flows.reports.page.subject import SPLIT, Answers, Subject
from taskdistill.tasks.functional.proportions import wilson_interval

MAX_CLASSES = 40


class OfClass(NamedTuple):
    """A class: what it is called, the value of each model in 0..1, and on how many images of test that is."""

    name: str
    values: Mapping[str, float]
    images: int | None

    def gain(self, model: str, reference: str) -> float:
        """How far a model is above another; NaN where one of them does not say."""
        return self.values.get(model, math.nan) - self.values.get(reference, math.nan)


def by_class(subject: Subject) -> Section | None:
    """Compare the models class by class; None where nothing is known of single classes."""
    metric, found = _found(subject)
    shown = [model for model in (subject.control, subject.chosen and subject.chosen.model, subject.teacher) if model]
    models = [model for model in shown if any(model in one.values for one in found)]
    if not models or not subject.chosen:
        return None
    chosen, control = subject.chosen.model, subject.control or ""
    found.sort(key=lambda one: _order(one.gain(chosen, control)))
    few, words = _shortened(found)
    gains = f", the largest gain first.{_gains(found, chosen, control)}" if control else "."
    several = any(len(subject.by_model[model]) > 1 for model in models)
    means = " Of several seeds it is the mean." if several else ""
    told = f"{metric} of each class on {SPLIT}{gains}{means}{words}"
    blocks: list[Block] = [Words(told)]
    blocks.append(_chart(few, models, metric, list(subject.by_model)))
    return Section("Classes", [*blocks, _table(few, models, chosen, control)])


def _order(gain: float) -> float:
    return math.inf if math.isnan(gain) else -gain


def _gains(found: list[OfClass], chosen: str, control: str) -> str:
    """Say in how many classes a model is above another, and in which it is most below it."""
    gains = [one.gain(chosen, control) for one in found]
    worse = [one for one in found if one.gain(chosen, control) < 0]
    worst = min(worse, key=lambda one: one.gain(chosen, control), default=None)
    counted = f" {chosen} is above {control} in {sum(gain > 0 for gain in gains)} classes and below it in {len(worse)}"
    if worst is None:
        return f"{counted}."
    values = " to ".join(f"{100 * worst.values[model]:.0f}" for model in (control, chosen))
    return f"{counted}, most in {worst.name} ({values} %)."


def _shortened(found: list[OfClass]) -> tuple[list[OfClass], str]:
    if len(found) <= MAX_CLASSES:
        return found, ""
    known = [one for one in found if any(not math.isnan(value) for value in one.values.values())]
    half = MAX_CLASSES // 2
    few = known if len(known) <= MAX_CLASSES else known[:half] + known[-half:]
    return few, f" Shown are {len(few)} of {len(found)} classes: those with the largest gains and the largest losses."


def _found(subject: Subject) -> tuple[str, list[OfClass]]:
    """Return what is compared, and the classes."""
    answers = {model: found for model in subject.by_model if (found := subject.answers_of(model))}
    if answers:
        return "Recall (the share of a class's images that is recognised)", list(_recalls(subject, answers))
    rows = [row for row in class_rows(subject.results, subject.store) if row["split"] == SPLIT]
    first = [row for row in rows if row["metric"] == rows[0]["metric"]]
    names = dict.fromkeys(row["class"] for row in first)
    return (rows[0]["metric"] if rows else ""), [
        OfClass(label, _values(first, name), None)
        for label, name in zip(distinct([short(name) for name in names]), names, strict=True)
    ]


def _recalls(subject: Subject, answers: Mapping[str, list[Answers]]) -> Iterator[OfClass]:
    for number, name in enumerate(subject.labels):
        values, images = {}, 0
        for model, seeds in answers.items():
            of_class = [one.is_right[one.true == number] for one in seeds]
            images = len(of_class[0])
            values[model] = float(np.mean(of_class)) if images else math.nan
        yield OfClass(name, values, images)


def _values(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return the value of a class by model, the mean over seeds."""
    of_class = [row for row in rows if row["class"] == name and row["value"] is not None]
    return {
        model: statistics.mean(row["value"] for row in of_class if row["model"] == model)
        for model in dict.fromkeys(row["model"] for row in of_class)
    }


def _chart(found: list[OfClass], models: list[str], metric: str, every: list[str]) -> Any:
    rows = [
        {"class": one.name, "model": model, "share": 100 * one.values[model],
         "words": f"{one.name}, {model}: {100 * one.values[model]:.0f} %"}
        for one in found for model in models if not math.isnan(one.values.get(model, math.nan))
    ]  # fmt: skip
    names = alt.Y("class:N", sort=[one.name for one in found], title=None)
    share = alt.X("share:Q", title="% of the class", scale=alt.Scale(domain=[0, 100]))
    base = alt.Chart(data_of(rows)).encode(y=names, x=share)
    lines = base.mark_line(color=MUTED, strokeWidth=1).encode(detail="class:N")
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        color=coloured(every, models), description="words:N"
    )
    caption = f"{metric} of each class for {', '.join(models)}."
    return drawn(alt.layer(lines, points).properties(width=WIDTH - 60, height=alt.Step(20)), caption)


def _table(found: list[OfClass], models: list[str], chosen: str, control: str) -> Table:
    rows = []
    for one in found:
        cells = [_cell(one, model) for model in models]
        gain = one.gain(chosen, control)
        images = [] if one.images is None else [f"{one.images:,}"]
        rows.append([one.name, *images, *cells, "" if math.isnan(gain) else f"{100 * gain:+.1f}"])
    words = "In %, with Wilson's interval for one seed (95 %)." if found and found[0].images is not None else "In %."
    columns = ["class", *(["n"] if found and found[0].images is not None else []), *models, "gain"]
    meaning = f" Gain: {chosen} less {control}, in points." if control else ""
    return Table(columns, rows, f"{words}{meaning}")


def _cell(one: OfClass, model: str) -> str:
    value = one.values.get(model, math.nan)
    if math.isnan(value):
        return "-"
    if one.images is None:
        return f"{100 * value:.1f}"
    low, high = wilson_interval(value, one.images)
    return f"{100 * value:.0f} ({100 * low:.0f}-{100 * high:.0f})"
