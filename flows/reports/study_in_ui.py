"""A study as a report in the Prefect UI: its tables as Markdown, as long as a page can be, and where the files lie."""

from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from taskdistill.flows.reports.prefect_ui import key_of, sent_or_said
from taskdistill.flows.reports.study import sentences, study_tables
from taskdistill.flows.reports.study_rows import CHOSEN_ON, StudyRow, StudyRows
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.store import ArtifactStore

MAX_ROWS = 100
"""Lines of a table that the UI shows in one piece: some 20 kB."""


def report_study(rows: StudyRows, store: ArtifactStore, files: Sequence[Path]) -> None:
    """Show what came out of a study, and say where its files lie."""
    name = rows.run.planned.study.name
    with sent_or_said("the table of the study"):
        text = study_in_markdown(rows, store, files)
        create_markdown_artifact(text, key=key_of(f"study-{name}"), description=f"What came out of the study {name}")


def study_in_markdown(rows: StudyRows, store: ArtifactStore, files: Sequence[Path]) -> str:
    """Return which model to take, the tables, of long ones the part that says most, and where all of it lies."""
    planned = rows.run.planned
    *others, chosen = sentences(rows, store)
    (models, notes), *effects = study_tables(rows)
    shown = [as_markdown(models).splitlines(), *(as_markdown(table).splitlines() for table, _ in effects)]
    parts = [
        f"# {planned.study.name}", chosen, *planned.said,
        *_cut(shown[0], _shown_first(rows.all), "the best on validation"), notes,
    ]  # fmt: skip
    for lines, (_, words) in zip(shown[1:], effects, strict=True):
        parts += [*_cut(lines, range(len(lines) - 2), "the first"), words]
    where = f"Charts, learning curves and all rows: `{files[0].parent}`: {', '.join(path.name for path in files)}."
    return "\n\n".join([*parts, *others, where])


def _cut(lines: Sequence[str], shown_first: Sequence[int], which: str) -> list[str]:
    """Return a table with at most so many lines below its heading, those that are to be shown first, as they stood."""
    head, rows = lines[:2], lines[2:]
    kept = sorted(shown_first[:MAX_ROWS])
    table = "\n".join([*head, *(rows[place] for place in kept)])
    left_out = len(rows) - len(kept)
    return [table, *([f"{left_out} more lines are in the files: these are {which}."] if left_out else [])]


def _shown_first(rows: Sequence[StudyRow]) -> list[int]:
    """Return the places of the rows, the best on validation first."""

    def score(place: int) -> float:
        spread = rows[place].spreads.get(CHOSEN_ON)
        return spread.mean if spread else float("-inf")

    return sorted(range(len(rows)), key=score, reverse=True)
