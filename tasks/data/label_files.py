"""What `data.labels` names: a table that comes with the program, one of another library, or a file of the user's own.

A text file has one name a line, for the numbers 0, 1, 2 ... A table (CSV in any of the forms of tasks.data.table_file,
or Parquet) has a column name and value, or red, green and blue, or all of them. A name may stand in several lines: all
that these give is that class. A line without a name says what is ignored.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from taskdistill.configs.choices import FOUND, LABEL_SOURCES, LABEL_TABLES, load
from taskdistill.configs.data import IngestConfig
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import DatasetError, dataset_folder
from taskdistill.tasks.data.label_tables import Colour, LabelTable
from taskdistill.tasks.data.names import normal
from taskdistill.tasks.data.paths import inside
from taskdistill.tasks.data.table_file import Expected, Row, read_rows

_NAMES = {
    "value": ("value", "pixel value", "id", "idx", "index", "number"),
    "name": ("name", "class", "label", "class name"),
    "red": ("red", "r"),
    "green": ("green", "g"),
    "blue": ("blue", "b"),
}
"""Our column -> what it is called in files that annotation programs and data sets write."""
_CHANNELS = ("red", "green", "blue")
_EXPECTED = Expected(_NAMES, needed=(("name",), ("value", *_CHANNELS)), example="road,7")
_LARGEST_VALUE, _LARGEST_LEVEL = 65_535, 255


def labels_of(config: IngestConfig) -> LabelTable | None:
    """Return the table that the settings name; None where they name none, or ask for what the masks hold.

    Raises DatasetError where a file cannot be read, and MissingPackageError where the library that knows a name is not
    installed.
    """
    name = config.labels
    source, separator, wanted = name.partition(":")
    if name in ("", FOUND):
        return None
    if name in LABEL_TABLES:
        table: LabelTable = load(LABEL_TABLES, name)
        return table
    if separator and source in LABEL_SOURCES:
        found: LabelTable = load(LABEL_SOURCES, source)(wanted)
        return found
    return read_labels(dataset_folder(config) / inside(name, "data.labels"))


def read_labels(file: Path) -> LabelTable:
    """Return the table that a file describes; DatasetError names the line that is wrong."""
    if not file.is_file():
        raise DatasetError(f"data.labels: there is no file {file}")
    return _names(file) if file.suffix.lower() == ".txt" and not _is_table(file) else _table(file)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8: save it as UTF-8, with one name a line") from error


def _is_table(file: Path) -> bool:
    """Whether a text file has tabs between columns that we know, as ADE20K's objectInfo150.txt."""
    header = {normal(cell).casefold() for cell in _text(file).partition("\n")[0].split("\t")}
    return len(header) > 1 and not header.isdisjoint(_NAMES["name"])


def _names(file: Path) -> LabelTable:
    names = [normal(line) for line in _text(file).rstrip().splitlines()]
    if not names:
        raise DatasetError(f"{file} is empty: write the name of a class in each line, the first for the number 0")
    if "" in names:
        raise DatasetError(
            f"{file}, line {names.index('') + 1} is empty: each line is the name of the next number, from 0; for "
            "numbers that are passed over use a CSV file with the columns name,value, or data.ignored_values"
        )
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        raise DatasetError(
            f"{file} has {repeated!r} in several lines: for a class of several numbers use a CSV file with the columns "
            "name,value"
        )
    return LabelTable(tuple(names))


def _table(file: Path) -> LabelTable:
    rows, _ = read_rows(file, _EXPECTED)
    columns = rows[0][1].keys()
    has_colours = set(_CHANNELS) <= columns
    if "value" not in columns and not has_colours:
        raise DatasetError(f"{file} has some of the columns red, green and blue: a colour needs all three")
    values: dict[str, list[int]] = {}
    colours: dict[str, list[Colour]] = {}
    for number, row in rows:
        name = normal(row["name"])
        own_values, own_colours = values.setdefault(name, []), colours.setdefault(name, [])
        if row.get("value"):
            own_values.append(_number(file, number, row, "value", _LARGEST_VALUE))
        if has_colours and any(row[channel] for channel in _CHANNELS):
            red, green, blue = (_number(file, number, row, channel, _LARGEST_LEVEL) for channel in _CHANNELS)
            own_colours.append((red, green, blue))
    _refuse_repeated(file, values, "value")
    _refuse_repeated(file, colours, "colour")
    names = tuple(name for name in values if name)
    return LabelTable(
        names,
        tuple(tuple(values[name]) for name in names) if "value" in columns else (),
        tuple(tuple(colours[name]) for name in names) if has_colours else (),
        tuple(values.get("", ())),
        tuple(colours.get("", ())),
    )


def _number(file: Path, number: int, row: Row, column: str, largest: int) -> int:
    text = row[column].removesuffix(".0")  # a spreadsheet's, where a column has empty cells
    if not text.isdecimal() or int(text) > largest:
        raise DatasetError(
            f"{file}, row {number}: the column {column} holds {row[column]!r}, expected a whole number from 0 to "
            f"{largest}"
        )
    return int(text)


def _refuse_repeated(file: Path, found: Mapping[str, Sequence[object]], what: str) -> None:
    """Raise DatasetError where two names have the same number or colour."""
    owner: dict[object, str] = {}
    for name, own in found.items():
        for one in own:
            if owner.setdefault(one, name) != name:
                raise DatasetError(
                    f"{file} gives the {what} {one} to {owner[one] or 'what is ignored'!r} and to {name!r}: one of "
                    "them is a slip"
                )
