"""Where the command line prints: results on stdout, everything else on stderr; and options that commands share.

Text is printed as it is. Names and paths are written by users: nothing in them is taken for a style, a picture or a
command to the terminal, and where the terminal lacks a character another is shown. On a terminal tables are as wide as
it is; in a pipe or a file nothing is broken, shortened or cut, as another program reads it.
"""

import codecs
import io
import json
import logging
import sys
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from taskdistill.flows.completing import references

IN_A_PIPE_COLUMNS = 100_000
FOLDED_COLUMNS = 24
"""Narrower than this a cell of some words is not folded."""
_INVISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_LIKE = {"±": "+-", "…": "...", "→": "->", "·": "."}


class _Console(Console):
    """Prints text as it is, on one line where it has one."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)

    @property
    def size(self) -> ConsoleDimensions:
        found = super().size
        return found if self.is_terminal else ConsoleDimensions(IN_A_PIPE_COLUMNS, found.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render_str(self, text: str, **named: Any) -> Text:
        return super().render_str(text.translate(_INVISIBLE), **named)

    def on_broken_pipe(self) -> None:
        """Let flows.ending.ending deal with it, as where it is written to without a console."""
        raise


errors = _Console(stderr=True)
output = _Console()

Reference = Annotated[
    str, typer.Argument(help="A label, or a reference such as model@3f9c12ab.", autocompletion=references)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class LogOnStderr(logging.Handler):
    """Prints what is logged, with its level where that is more than a remark."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        try:
            errors.print(f"{level}{self.format(record)}")
        except OSError:  # stderr is gone: the standard way to deal with that
            self.handleError(record)


def print_table(title: str, table: Table) -> None:
    """Print a line above a table; on a terminal its cells are folded to fit, and where that would leave too little of
    them each row is a paragraph.
    """
    output.print(title)
    if _least_columns(table) <= output.width:
        output.print(table, soft_wrap=False)
        return
    headings = [str(column.header) for column in table.columns]
    for first, *others in zip(*(column.cells for column in table.columns), strict=True):
        output.print(first)
        named = [f"{heading}: {cell}" for heading, cell in zip(headings[1:], others, strict=True) if cell]
        output.print(Padding(output.render_str("; ".join(named)), (0, 0, 0, 4)), soft_wrap=False)


def _least_columns(table: Table) -> int:
    """Return how many columns of a terminal a table needs to be read: cells that fold a little more than a word."""
    widths = 2  # at the edges
    for column in table.columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        whole = max(map(cell_len, cells))
        words = max(cell_len(word) for cell in cells for word in (cell.split() or [""]))
        widths += 1 + (whole if column.no_wrap else max(words, min(whole, FOLDED_COLUMNS)))
    return widths


def print_json(value: dict[str, Any]) -> None:
    """Print one object on one line of stdout, for programs."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_any_character() -> None:
    """Let stdout and stderr take every character, also where the terminal's encoding lacks it."""
    codecs.register_error("taskdistill", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="taskdistill")


def _instead(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return something like a character that cannot be encoded; of a file name that is no text, its own bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python keeps a byte of a name that is not UTF-8
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return _LIKE.get(character, "?"), error.start + 1
