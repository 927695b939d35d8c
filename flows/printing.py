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
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from taskdistill.flows.completing import references

IN_A_PIPE_COLUMNS = 100_000
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
    """Print a line above a table; on a terminal its cells are folded to fit."""
    output.print(title)
    output.print(table, soft_wrap=False)


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
