"""A table, written in Markdown or HTML as on the screen."""

import html
from collections.abc import Iterator

from rich.table import Table


def as_markdown(table: Table) -> str:
    alignment = [":---" if column.justify == "left" else "---:" for column in table.columns]
    head, *rows = ([_in_markdown(cell) for cell in row] for row in _rows(table))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, alignment, *rows))


def as_html(table: Table) -> str:
    head, *rows = ([html.escape(cell) for cell in row] for row in _rows(table))
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{lines}</table>"


def _rows(table: Table) -> Iterator[list[str]]:
    """Yield the words of each row, those of the heading first."""
    yield [str(column.header) for column in table.columns]
    yield from (list(map(str, row)) for row in zip(*(column.cells for column in table.columns), strict=True))


def _in_markdown(text: str) -> str:
    """Return text that stays within its cell, and whose stars are stars."""
    return " ".join(text.replace("|", "\\|").replace("*", "\\*").split())
