"""Which classes the chosen student takes for which, those that it mixes up side by side."""

from typing import Any

import altair as alt
import numpy as np

from taskdistill.flows.reports.page.blocks import Block, Chart, Pictures, Section, Words, distinct, file_name
from taskdistill.flows.reports.page.charts import ACCENT, LINE, data_of, drawn
from taskdistill.flows.reports.page.subject import Answers, Numbers, Subject
from taskdistill.flows.reports.page.thumbnails import Thumbnails
from taskdistill.tasks.functional.confusions import (
    ConfusedPair,
    clustered_order,
    confused_pairs,
    confusion_counts,
    most_confused_block,
    precision,
    recall,
)

MAX_CLASSES, MAX_WRITTEN, CELL_PX = 30, 20, 26
MAX_PAIRS, MAX_IMAGES = 10, 4
RECALL, PRECISION = "recall %", "precision %"


def confusion(subject: Subject) -> Section | None:
    """Show the confusions of the chosen student; None where an image has not one answer."""
    answers = subject.answers(subject.chosen) if subject.chosen else None
    if not answers or not subject.chosen:
        return None
    counts = confusion_counts(answers.true, answers.said, len(subject.classes))
    seed = subject.seed_in_words(subject.chosen)
    named = f"{subject.chosen.model}{seed} ({subject.chosen.artifact.short})"
    wrong = int((~answers.is_right).sum())
    if not wrong:
        return Section("Confusions", [Words(f"{named} makes no mistake on test.")])
    blocks: list[Block] = [Words(f"{named} is wrong on {wrong:,} of {len(answers.ids):,} images of test.")]
    chosen = np.arange(len(counts))
    if len(counts) > MAX_CLASSES:
        chosen = most_confused_block(counts, MAX_CLASSES)
        blocks.append(Words(f"Of {len(counts):,} classes the {len(chosen)} most confused are shown."))
    return Section("Confusions", [*blocks, _matrix(subject, counts, chosen), *_pairs(subject, answers, counts)])


def _matrix(subject: Subject, counts: Numbers, chosen: Numbers) -> Chart:
    order = chosen[clustered_order(counts[np.ix_(chosen, chosen)])]
    labels = distinct([subject.labels[number] for number in order], [RECALL, PRECISION])
    rows = [*_cells(counts, order, labels), *_margins(counts, order, labels)]
    columns, lines = [*labels, RECALL], [*labels, PRECISION]
    base = alt.Chart(data_of(rows)).encode(
        x=alt.X("said:N", sort=columns, title="answer", axis=alt.Axis(labelAngle=-60)),
        y=alt.Y("true:N", sort=lines, title="true class"),
    )
    cells = base.mark_rect(stroke=LINE, strokeWidth=0.5).encode(
        color=alt.Color(
            "kind:N", scale=alt.Scale(domain=["count", "margin"], range=[ACCENT, "transparent"]), legend=None
        ),
        fillOpacity=alt.FillOpacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.75]), legend=None),
        description="words:N",
    )
    layers = [cells]
    if len(order) <= MAX_WRITTEN:
        layers.append(base.mark_text(fontSize=11).encode(text="text:N"))
    else:  # no room for the counts of so many
        layers.append(base.mark_text(fontSize=9).encode(text="text:N").transform_filter("datum.kind == 'margin'"))
    caption = (
        "Confusion matrix: true classes in rows, answers in columns, ordered so that classes that are confused are "
        "neighbours; darker is a larger share of the row. Recall is the share of a class that is found, precision the "
        "share of an answer that is right."
    )
    side = CELL_PX if len(order) <= MAX_WRITTEN else CELL_PX - 8
    chart = alt.layer(*layers).properties(width=alt.Step(side), height=alt.Step(side))
    return drawn(chart, caption, is_wide=True)


def _cells(counts: Numbers, order: Numbers, labels: list[str]) -> list[dict[str, Any]]:
    sums = np.maximum(counts.sum(axis=1), 1)
    return [
        {"true": labels[row], "said": labels[column], "kind": "count", "share": float(counts[a, b] / sums[a]),
         "text": str(counts[a, b]) if counts[a, b] else "",
         "words": f"{labels[row]} taken for {labels[column]}: {counts[a, b]} of {counts[a].sum()}"}
        for row, a in enumerate(order) for column, b in enumerate(order)
    ]  # fmt: skip


def _margins(counts: Numbers, order: Numbers, labels: list[str]) -> list[dict[str, Any]]:
    """Return recall behind each row and precision under each column."""
    recalls, precisions = recall(counts)[order], precision(counts)[order]
    found = []
    for label, of_row, of_column in zip(labels, recalls, precisions, strict=True):
        for value, place in (
            (of_row, {"true": label, "said": RECALL}),
            (of_column, {"true": PRECISION, "said": label}),
        ):
            text = "-" if np.isnan(value) else f"{100 * value:.0f}"
            name = RECALL if place["said"] == RECALL else PRECISION
            words = f"{name.removesuffix(' %')} of {label}: {text} %"
            found.append({**place, "kind": "margin", "share": 0.0, "text": text, "words": words})
    return found


def _pairs(subject: Subject, answers: Answers, counts: Numbers) -> list[Block]:
    """Show the classes that are confused most, with images of which each was taken for the other."""
    thumbnails = Thumbnails.of(subject)
    if not thumbnails:
        return []
    rows = []
    for pair in confused_pairs(counts, MAX_PAIRS):
        names = [subject.labels[number] for number in (pair.first, pair.second)]
        words = f"{names[0]} / {names[1]}: {pair.first_as_second} and {pair.second_as_first} images"
        shown = [
            thumbnails.picture(answers.ids[row], f"{subject.labels[answers.true[row]]} →",
                               subject.labels[answers.said[row]], file_name(answers.ids[row]))
            for row in _surest(answers, pair)
            if answers.ids[row] in thumbnails
        ]  # fmt: skip
        rows.append((words, shown))
    return [Words(f"The {len(rows)} most confused pairs, with the mistakes it was surest of:"), Pictures(rows)]


def _surest(answers: Answers, pair: ConfusedPair) -> list[int]:
    """Return the images of a pair that were taken for the other class, the surest answers first."""
    one_way = (answers.true == pair.first) & (answers.said == pair.second)
    other_way = (answers.true == pair.second) & (answers.said == pair.first)
    rows = np.flatnonzero(one_way | other_way)
    return [int(row) for row in rows[np.argsort(-answers.confidence[rows], kind="stable")][:MAX_IMAGES]]
