"""What training added: how far each student lies above what it started from and above its controls, image by image."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT, ModelResult
from taskdistill.flows.pipeline.comparing import FEWEST_IMAGES, Comparison, compared
from taskdistill.flows.pipeline.teacher_gap import teacher_gap
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.comparison import CHANCE
from taskdistill.tasks.problems.metrics import PERCENT

SPLIT = "test"
"""Where students are compared: their weights were chosen on validation."""
REFERENCES = (START, CONTROL, STUDENT)
"""What students are compared with: each with those that have less than it, in this order."""


class DifferenceTable(NamedTuple):
    """The table of differences, and what its numbers mean."""

    table: Table
    notes: str


def differences(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[Comparison]:
    """Compare each student, its seeds together, with each reference; those are left out whose scores of single images
    are not known.
    """
    by_model = defaultdict[str, list[ModelResult]](list)
    for result in results:
        by_model[result.model].append(result)
    students = {model: seeds for model, seeds in by_model.items() if seeds[0].seed is not None}
    for model, seeds in students.items():
        before = REFERENCES[: REFERENCES.index(model)] if model in REFERENCES else REFERENCES
        for reference in (name for name in before if name in by_model):
            if found := compared(seeds, by_model[reference], SPLIT, store):
                yield found


def difference_rows(results: Sequence[ModelResult], store: ArtifactStore) -> list[dict[str, Any]]:
    """One row for each pair of models that are compared, teacher and student's probe on validation first."""
    gap = teacher_gap(results, store)
    return [one.row() for one in [*([gap.comparison] if gap else []), *differences(results, store)]]


def difference_tables(results: Sequence[ModelResult], store: ArtifactStore) -> list[DifferenceTable]:
    """Return the table of each student's differences with its notes; none where nothing can be compared."""
    found = list(differences(results, store))
    if not found:
        return []
    cells = {(one.model, one.reference): _cell(one) for one in found}
    references = [name for name in REFERENCES if any(one.reference == name for one in found)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", no_wrap=True)
    for reference in references:
        table.add_column(f"to {reference}", justify="right", no_wrap=True)
    for model in dict.fromkeys(one.model for one in found):
        table.add_row(model, *(cells.get((model, reference), "") for reference in references))
    return [DifferenceTable(table, _notes(found))]


def _cell(one: Comparison) -> str:
    return f"* {one}" if one.is_clear else str(one)


def _notes(found: Sequence[Comparison]) -> str:
    first = found[0]
    num_seeds = max(one.num_seeds for one in found)
    unit = "points" if first.metric.unit == PERCENT else "differences"
    seeds = f", mean of {num_seeds} seeds" if num_seeds > 1 else ""
    if first.num_images == 1:
        return f"Differences in {first.metric.heading} on {SPLIT}: one image{seeds}, which has no standard error."
    found_on = (
        f"{unit.capitalize()} of {first.metric.heading} on {SPLIT}, image by image ({first.num_images} images{seeds})."
    )
    if not first.can_tell:
        return (
            f"{found_on} So few cannot tell a difference from chance, whatever its error: it takes {FEWEST_IMAGES} at "
            "least."
        )
    return f"{found_on} *: more than chance (p < {CHANCE:g}); the others cannot be told from it on so few images."
