"""What a plan says of its steps: a table for people, and rows for programs."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.planning import Plan, PlannedStep
from taskdistill.flows.pipeline.work import Work
from taskdistill.storage.files import bytes_in_words


def plan_table(planned: Plan, work: Mapping[str, Work]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("step", "action", "because", "work", "size", "artifact"):
        table.add_column(column, no_wrap=column != "because")
    for step in planned.steps:
        said = step.name, step.action, step.because, work[step.name].words
        table.add_row(*said, _size(step), step.ref.fingerprint[:12])
    return table


def plan_rows(planned: Plan, work: Mapping[str, Work]) -> list[dict[str, Any]]:
    return [plan_row(step, work[step.name]) for step in planned.steps]


def _size(step: PlannedStep) -> str:
    if step.num_bytes is None:
        return "?"
    return f"{'' if step.action == 'have' else '~'}{bytes_in_words(step.num_bytes)}"


def plan_row(step: PlannedStep, work: Work) -> dict[str, Any]:
    """Return a step of a plan as plain JSON values."""
    return {
        "name": step.name,
        "stage": step.stage.name,
        "action": step.action,
        "because": step.because,
        "reference": str(step.ref),
        "bytes": step.num_bytes,
        "shown": [part._asdict() for part in work.shown],
        "seconds": work.seconds,
        "is_by_other_images": work.is_by_other_images,
        "optimiser_steps": work.num_steps,
    }
