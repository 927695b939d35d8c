"""A table file as rows of text: CSV as spreadsheets of all countries write it, or Parquet.

What can only be meant one way is read and said: a byte order mark, UTF-16, semicolons, tabs or bars between the
columns, capitals and blanks in their names. Anything else is refused with what to do.
"""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from storage.tree import unreadable
from tasks.data.candidates import DatasetError
from tasks.data.names import normal

COLUMNS = ("path", "label", "split", "mask")
NEEDED = ("path", "label")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Row = dict[str, str]
"""Column -> text, blanks at its ends removed; empty where the table says nothing."""


class Rows(NamedTuple):
    rows: list[tuple[int, Row]]
    """Each with its number among the rows of the file, from 1; rows in which nothing stands are left out."""
    said: list[str]


def read_rows(table: Path) -> Rows:
    """Return the rows of a table; DatasetError where it cannot be read, or lacks a column."""
    if not table.is_file():
        raise DatasetError(f"data.table: there is no file {table}")
    said: list[str] = []
    read = _parquet(table) if table.suffix.lower() == ".parquet" else _csv(table, said)
    columns = _columns(table, read.column_names)
    texts = [_texts(table, name, read[found]) for name, found in columns.items()]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*texts, strict=True)]
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if any(row.values())]
    if len(numbered) < len(rows):
        said.append(f"{len(rows) - len(numbered)} rows of {table.name} are empty and are left out")
    return Rows(numbered, said)


def _parquet(table: Path) -> pa.Table:
    try:
        return pq.read_table(table)
    except pa.ArrowException as error:
        raise DatasetError(f"{table} cannot be read as {table.suffix}: {error}") from error
    except OSError as error:
        raise unreadable(table, error) from error


def _csv(table: Path, said: list[str]) -> pa.Table:
    text = _decoded(table, said)
    header = re.split(r"\r\n|\r|\n", text, maxsplit=1)[0]
    separator = _separator(header, table.name, said)
    names = dict.fromkeys(_cells(header, separator), pa.string())
    try:
        return pyarrow.csv.read_csv(
            io.BytesIO(text.encode()),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            # Else the label 007 would become 7, and the label NA nothing.
            convert_options=pyarrow.csv.ConvertOptions(column_types=names),
        )
    except pa.ArrowException as error:
        raise DatasetError(f"{table} cannot be read as {table.suffix or 'a table'}: {error}") from error


def _decoded(table: Path, said: list[str]) -> str:
    try:
        data = table.read_bytes()
    except OSError as error:
        raise unreadable(table, error) from error
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-16":
        said.append(f"{table.name} is read as UTF-16")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{table} cannot be read as {table.suffix or 'a table'}: line {line} is not UTF-8. Save the table as CSV "
            "in UTF-8 (a spreadsheet offers 'CSV UTF-8'), or as Parquet"
        ) from error
    if "\0" in text:
        raise DatasetError(
            f"{table} cannot be read as {table.suffix or 'a table'}: save it as CSV in UTF-8, or Parquet"
        )
    return re.sub(r"\Asep=.\r?\n", "", text)  # a line that some spreadsheets write for themselves


def _separator(header: str, table: str, said: list[str]) -> str:
    """Return what stands between the columns: what makes the needed ones of the first line."""
    fitting = [sign for sign in _SEPARATORS if set(NEEDED) <= set(map(_plain, _cells(header, sign)))]
    if fitting and fitting[0] != ",":
        said.append(f"the columns of {table} are separated by {_SEPARATORS[fitting[0]]}")
    return fitting[0] if fitting else ","


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _plain(name: str) -> str:
    return normal(name).casefold()


def _columns(table: Path, found: Sequence[str]) -> dict[str, str]:
    """Return the name that each of our columns has in the file."""
    columns = {}
    for wanted in COLUMNS:
        alike = [name for name in found if _plain(name) == wanted]
        if len(alike) > 1:
            raise DatasetError(f"{table} has several columns called {wanted}: {alike}. Keep one of them")
        columns.update(dict.fromkeys([wanted], alike[0]) if alike else {})
    if missing := sorted(set(NEEDED) - columns.keys()):
        raise DatasetError(
            f"{table} lacks the columns {missing}; it has {list(found)}: name the columns in its first line, such as "
            "path,label,split"
        )
    return columns


def _texts(table: Path, name: str, column: pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    if odd := next((value for value in values if not isinstance(value, str | int | float | None)), None):
        raise DatasetError(
            f"{table}: the column {name!r} holds {type(odd).__name__}, such as {odd!r}: it must hold text or numbers"
        )
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    missing = value is None or value != value
    return "" if missing else str(value).strip()
