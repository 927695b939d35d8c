"""The table of faults in the operator's page: a row for each, as it was observed."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "OPERATING.md"
BEGIN, END = "<!-- The table is made by `python -m tests.fault_matrix --write`. -->", "<!-- The end of the table. -->"
HEADINGS = ("Fault", "State in Prefect", "What the store held", "Processes left", "After Retry", "A fresh run instead")


class Row(NamedTuple):
    """What was observed of one fault, in words."""

    fault: str
    state: str
    held: str
    left: str
    retry: str
    fresh: str


def note(row: Row, file: Path) -> None:
    with file.open("a") as lines:
        lines.write(json.dumps(row) + "\n")


def observed_in(file: Path) -> dict[str, Row]:
    """The rows that were noted, by their fault."""
    rows = [Row(*json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    return {row.fault: row for row in rows}


def as_table(rows: Iterable[Row]) -> str:
    lines = [HEADINGS, [":---"] * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(page: str) -> dict[str, Row]:
    """The rows of a page, by their fault."""
    table = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    rows = [Row(*line.strip("| ").split(" | ")) for line in table]
    return {row.fault: row for row in rows}


def with_rows(page: str, rows: Iterable[Row]) -> str:
    """The page with another table."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{as_table(rows)}\n\n{END}{rest.partition(END)[2]}"
