"""A table, written in Markdown as on the screen, and its rows."""

from collections.abc import Iterator

from rich.table import Table


def as_markdown(table: Table) -> str:
    alignment = [":---" if column.justify == "left" else "---:" for column in table.columns]
    head, *rows = ([_in_markdown(cell) for cell in row] for row in rows_of(table))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, alignment, *rows))


def rows_of(table: Table) -> Iterator[list[str]]:
    """Yield the words of each row of a table, those of the heading first."""
    yield [str(column.header) for column in table.columns]
    yield from (list(map(str, row)) for row in zip(*(column.cells for column in table.columns), strict=True))


def _in_markdown(text: str) -> str:
    """Return text that stays within its cell, and whose stars are stars."""
    return " ".join(text.replace("|", "\\|").replace("*", "\\*").split())
