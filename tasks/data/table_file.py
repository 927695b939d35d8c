"""A table file as rows of text: CSV as spreadsheets of all countries write it, or Parquet.

What can only be meant one way is read and reported: a byte order mark, UTF-16, semicolons, tabs or bars between the
columns, capitals and blanks in their names. Anything else is refused with what to do.
"""

import codecs
import csv
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from taskdistill.configs.counting import counted
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.names import normal


class Expected(NamedTuple):
    """The columns that are read."""

    names: Mapping[str, Sequence[str]]
    """Our column -> what it may be called in the file, case aside."""
    needed: Sequence[Sequence[str]]
    """Columns that must be there; of several in one place, one must."""
    example: str
    """A row, for errors."""

    @property
    def header(self) -> str:
        """The first line of the smallest table."""
        return ",".join(columns[0] for columns in self.needed)

    def lacking(self, columns: Collection[str]) -> list[str]:
        return sorted(some[0] for some in self.needed if not set(some) & set(columns))

    def columns_of(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Return the cells of a first line that name each of our columns."""
        return {
            column: [cell for cell in cells if _plain(cell) in spellings] for column, spellings in self.names.items()
        }


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SAVE = "save the table as CSV in UTF-8 (a spreadsheet offers 'CSV UTF-8'), or as Parquet"
_FOREIGN = {
    b"PK\x03\x04": f"a spreadsheet's own file, or an archive: {_SAVE}",
    b"\xd0\xcf\x11\xe0": f"an old spreadsheet's own file: {_SAVE}",
    b"PAR1": "Parquet: let its name end in .parquet",
    b"version https://git-lfs": "a pointer of Git LFS: run 'git lfs pull' in the repository it comes from",
    b"<!DOCTYPE html": "a web page: download the table again",
}
"""How files begin that are no text of rows -> what they are, and what to do."""

Row = dict[str, str]
"""Column -> text, blanks at its ends removed; empty where the table has nothing."""


class Rows(NamedTuple):
    rows: list[tuple[int, Row]]
    """Each with its number among the rows of the file, from 1; rows in which nothing stands are left out."""
    said: list[str]


def read_rows(table: Path, expected: Expected) -> Rows:
    """Return the rows of a table, of the columns expected; DatasetError where it cannot be read, or lacks one."""
    said: list[str] = []
    read = _parquet(table) if table.suffix.lower() == ".parquet" else _csv(table, expected, said)
    columns = _columns(table, read.column_names, expected)
    texts = [_texts(table, name, read[found]) for name, found in columns.items()]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*texts, strict=True)]
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if any(row.values())]
    if not numbered:
        raise DatasetError(f"{table} has no rows below its columns: write them below, such as {expected.example}")
    if len(numbered) < len(rows):
        empty = counted(len(rows) - len(numbered), "row")
        said.append(f"{empty} of {table.name} left out: nothing is written there")
    return Rows(numbered, said)


def _parquet(table: Path) -> pa.Table:
    try:
        with pq.ParquetFile(table) as file:
            read = file.read()
        read.validate(full=True)  # that texts are UTF-8, and lists end where they say
        return pa.table(read.columns, names=read.column_names)  # decodes the names, too
    except OSError as error:
        if error.errno:
            raise unreadable(table, error) from error
        raise _damaged(table) from error  # of a page that cannot be decoded pyarrow says OSError too, without a number
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _damaged(table) from error


def _damaged(table: Path) -> DatasetError:
    return DatasetError(
        f"{_cannot_be_read(table)}: it is damaged, cut off, or another kind of file; write it again, or save the table "
        "as CSV in UTF-8"
    )


def _csv(table: Path, expected: Expected, said: list[str]) -> pa.Table:
    text = _decoded(table, expected, said)
    header = re.split(r"\r\n|\r|\n", text, maxsplit=1)[0]
    separator = _separator(header, expected, table.name, said)
    names = dict.fromkeys(_cells(header, separator), pa.string())
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text.encode()),
            # With threads, one process in twenty that ended at once, in an error, was aborted by them.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            # Else the label 007 would become 7, and the label NA nothing.
            convert_options=pyarrow.csv.ConvertOptions(column_types=names),
        )
    except pa.ArrowException as error:
        raise DatasetError(f"{_cannot_be_read(table)}: {_reason(str(error), text, expected)}") from error


def _cannot_be_read(table: Path) -> str:
    return f"{table} cannot be read as {table.suffix or 'a table'}"


def _reason(error: str, text: str, expected: Expected) -> str:
    """Return why a text is no table, in words of ours."""
    if uneven := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", error, re.DOTALL):
        row, columns, got, cells = uneven.groups()
        return (
            f"line {row} has {got} cells, the first line {columns}: {cells[:80]!r}. Give each line as many as the "
            f"first, which names the columns, such as {expected.header}; a cell that holds the separator needs quotes"
        )
    begin = text.lstrip()[:40]
    return (
        f"it begins with {begin!r}: save the table as CSV in UTF-8 with the columns {expected.header} in its first line"
    )


def _decoded(table: Path, expected: Expected, said: list[str]) -> str:
    try:
        data = table.read_bytes()
    except OSError as error:
        raise unreadable(table, error) from error
    if foreign := next((what for start, what in _FOREIGN.items() if data.startswith(start)), ""):
        raise DatasetError(f"{_cannot_be_read(table)}: it is {foreign}")
    if not data.strip():
        raise DatasetError(f"{_cannot_be_read(table)}: it is empty; its first line is {expected.header}")
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


def _separator(header: str, expected: Expected, table: str, said: list[str]) -> str:
    """Return what stands between the columns: what makes the needed ones of the first line."""
    found = {sign: expected.columns_of(_cells(header, sign)) for sign in _SEPARATORS}
    fitting = [
        sign
        for sign, columns in found.items()
        if not expected.lacking([column for column, cells in columns.items() if cells])
    ]
    if fitting and fitting[0] != ",":
        said.append(f"the columns of {table} are separated by {_SEPARATORS[fitting[0]]}")
    return fitting[0] if fitting else ","


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _plain(name: str) -> str:
    return normal(name).casefold()


def _columns(table: Path, found: Sequence[str], expected: Expected) -> dict[str, str]:
    """Return the name that each of our columns has in the file."""
    columns = {}
    for wanted, alike in expected.columns_of(found).items():
        if len(alike) > 1:
            raise DatasetError(f"{table} has several columns called {wanted}: {alike}. Keep one of them")
        columns.update(dict.fromkeys([wanted], alike[0]) if alike else {})
    if missing := expected.lacking(columns):
        raise DatasetError(
            f"{table} lacks the columns {missing}; it has {list(found)}: name the columns in its first line, such as "
            f"{','.join(list(expected.names)[:3])}"
        )
    return columns


def _texts(table: Path, name: str, column: pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    if odd := next((value for value in values if not isinstance(value, str | int | float | None)), None):
        raise DatasetError(
            f"{table}: the column {name!r} holds {type(odd).__name__}, such as {odd!r}: it must hold text or numbers"
        )
    texts = [_text(value) for value in values]
    if broken := [number for number, text in enumerate(texts, start=1) if "\n" in text or "\r" in text]:
        raise DatasetError(
            f"{table}, row {broken[0]}: the column {name!r} holds a line break, {texts[broken[0] - 1][:60]!r}: "
            "probably a quotation mark that is opened and not closed; close it, or double it where it is meant as such"
        )
    return texts


def _text(value: Any) -> str:
    missing = value is None or value != value
    return "" if missing else str(value).strip()
