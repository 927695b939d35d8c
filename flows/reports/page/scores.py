"""The scores of all models, each with how far it may be off, and what the words mean."""

import statistics
from collections.abc import Iterator

from taskdistill.flows.pipeline.chain import CONTROL
from taskdistill.flows.pipeline.comparing import compared, declared_metrics, score_metric
from taskdistill.flows.reports.calibrated import calibrated_column
from taskdistill.flows.reports.differences import difference_tables
from taskdistill.flows.reports.page.blocks import Block, Section, Table, Terms, Words
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.results import score_cell, score_notes, score_rows, sizes
from taskdistill.flows.reports.tables import rows_of
from taskdistill.tasks.problems.metrics import Metric

_TERMS = (
    ("±", "standard deviation over seeds: how much another seed would change the number"),
    ("SE", "standard error: how much other images, as many, would change it; two of them either way hold the truth "
           "about 19 times in 20"),
    ("gap closed", f"how much of the way from {CONTROL} to the teacher a student has come"),
    ("probed", "a frozen pretrained network with a linear head, trained on the labels"),
    ("finetuned", "all of the network trained on the labels, without a teacher"),
    ("distilled", "all of it trained on the labels and on the teacher's answers"),
    ("+blends, +unlabelled", "distilled with more images that have no labels: painted ones, or those of a folder"),
)  # fmt: skip


def scores(subject: Subject) -> Section:
    """Show every metric of every model on every split."""
    blocks: list[Block] = [*_tables(subject), Words(" ".join(score_notes(subject.results, subject.store)))]
    for table, notes in difference_tables(subject.results, subject.store):
        columns, *rows = rows_of(table)
        blocks.append(Table(columns, rows, notes))
    return Section("Scores", [*blocks, Terms([*_TERMS, *_metrics(subject)])])


def _tables(subject: Subject) -> Iterator[Table]:
    """Yield a table for each split, that of test first."""
    rows = score_rows(subject.results, subject.store)
    known = {row["metric"] for row in rows}
    metrics = [one for one in declared_metrics(subject.results, subject.store).values() if one.name in known]
    calibrated, parameters = calibrated_column(subject.results, subject.store), sizes(subject.results, subject.store)
    for split in sorted({row["split"] for row in rows}, key=lambda name: name != SPLIT):
        table = []
        for model in subject.by_model:
            of_model = [row for row in rows if row["model"] == model and row["split"] == split]
            cells = [
                score_cell(metric, [row for row in of_model if row["metric"] == metric.name]) for metric in metrics
            ]
            after = [calibrated.cells.get((model, split), "")] if calibrated else []
            table.append([model, *cells, *after, gap_closed(subject, model, split), parameters.get(model, "")])
        columns = ["model", *(_heading(one) for one in metrics), *(["ECE calibrated %"] if calibrated else [])]
        yield Table([*columns, "gap closed", "size"], table, f"On {split}.")


def _heading(metric: Metric) -> str:
    return f"{metric.heading} {metric.unit}".rstrip()


def gap_closed(subject: Subject, model: str, split: str) -> str:
    """Write which share of the way from control to teacher a student has come; empty where the teacher is not clearly
    ahead, as a share of next to nothing says nothing.
    """
    if model not in subject.students or model == CONTROL or not (subject.teacher and CONTROL in subject.by_model):
        return ""
    way = compared(subject.by_model[subject.teacher], subject.by_model[CONTROL], split, subject.store)
    if not way or not way.is_clear:
        return ""
    here, control, teacher = (_mean(subject, name, split) for name in (model, CONTROL, subject.teacher))
    if here is None or control is None or teacher is None or teacher <= control:
        return ""
    return f"{100 * (here - control) / (teacher - control):.0f} %"


def _mean(subject: Subject, model: str | None, split: str) -> float | None:
    results = subject.by_model.get(model or "", [])
    name = score_metric(results[0], subject.store).name if results else ""
    rows = score_rows(results, subject.store)
    values = [row["value"] for row in rows if row["split"] == split and row["metric"] == name]
    return statistics.mean(values) if values else None


def _metrics(subject: Subject) -> Iterator[tuple[str, str]]:
    for metric in declared_metrics(subject.results, subject.store).values():
        if metric.about:
            yield metric.heading, metric.about
