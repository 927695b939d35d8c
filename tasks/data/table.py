"""Dataset form "table": a CSV or Parquet file with the columns path, label or mask or both and, if it likes, split.

What is learnt is the labels where it has any and `data.labels` does not say what its masks mean; else the masks. Rows
of a split called unlabelled need neither.

Paths are relative to the dataset's folder and must stay inside it: a table may come from anywhere. They are joined with
the files on disk by their normal form (`tasks.data.names`), so that a table written on a PC fits files from a Mac.
Whatever is wrong is counted over the whole table and its first rows are named.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, dataset_folder
from taskdistill.tasks.data.left_out import LITTER, NOT_AN_IMAGE, NOT_IN_TABLE, Contents, contents
from taskdistill.tasks.data.names import normal
from taskdistill.tasks.data.paths import inside
from taskdistill.tasks.data.split_names import COMMON, explained, is_unlabelled, meaning, resolve
from taskdistill.tasks.data.table_file import Expected, Row, read_rows

_NAMES = {column: (column,) for column in ("path", "label", "split", "mask")}
_EXPECTED = Expected(_NAMES, needed=(("path",), ("label", "mask")), example="cats/1.jpg,cat")
_OF_MASKS = Expected(
    {column: (column,) for column in ("path", "mask", "split")},
    needed=(("path",), ("mask",)),
    example="1.jpg,masks/1.png",
)


class _Named(NamedTuple):
    """A row whose paths were found on disk."""

    number: int
    id: str
    label: str | None
    split: str
    """As the table writes it."""
    mask: str


def list_images(config: IngestConfig) -> Listing:
    """Return the table's rows as candidates; DatasetError names the first rows that cannot be used."""
    folder = dataset_folder(config)
    table = folder / inside(config.table, "data.table")
    if not table.is_file():
        raise DatasetError(f"data.table: there is no file {table}")
    rows, said = read_rows(table, _OF_MASKS if config.labels else _EXPECTED)
    found = contents(folder)
    files = _Files(folder, table, found)
    every = [files.of_row(number, row) for number, row in rows]
    files.refuse_missing()
    named, repeated = _without_repeated(table, every)
    splits = _splits(table, named)
    candidates = [_candidate(folder, row, splits.get(row.split, "")) for row in named]
    left_out = [one for one in _left_out(found, named) if folder / one.path != table]
    return Listing(
        candidates,
        left_out,
        [
            *said,
            *files.said(),
            *repeated,
            *explained({word: split for word, split in splits.items() if split != UNLABELLED}),
        ],
    )


def _candidate(folder: Path, row: _Named, split: str) -> Candidate:
    label = None if split == UNLABELLED else row.label or None
    return Candidate(row.id, folder, label, split, row.mask or None)


def _left_out(found: Contents, named: Sequence[_Named]) -> list[LeftOut]:
    used = {row.id for row in named} | {row.mask for row in named}
    unnamed = [LeftOut(path, NOT_IN_TABLE) for path in found.pictures if path not in used]
    return [one for one in [*found.left_out, *unnamed] if one.path not in used]


class _Files:
    """The files of the folder, found by the paths that a table writes."""

    def __init__(self, folder: Path, table: Path, found: Contents) -> None:
        self._folder, self._table = folder, table
        readable = [one.path for one in found.left_out if one.reason in (LITTER, NOT_AN_IMAGE)]
        self._paths = {*found.pictures, *(path for path in readable if (folder / path).is_file())}
        self._by_normal: dict[str, list[str]] = {}
        self._missing: list[tuple[int, str]] = []
        self._unlabelled: list[int] = []
        self._needed = ""
        self._backslashes = 0

    def of_row(self, number: int, row: Row) -> _Named:
        """Return a row with its files; what is missing is remembered for `refuse_missing`."""
        where = f"{self._table}, row {number}"
        label = sys.intern(normal(row["label"])) if "label" in row else None
        if not row["path"] or (label == "" and not is_unlabelled(row.get("split", ""))):
            self._unlabelled.append(number)
            self._needed = "path" if label is None else "path and label"
            return _Named(number, "", "", "", "")
        mask = row.get("mask", "")
        found = self._find(number, row["path"], where)
        return _Named(number, found, label, row.get("split", ""), self._find(number, mask, where) if mask else "")

    def refuse_missing(self) -> None:
        """Raise DatasetError where a row lacked a path or label, or named a file that is not there."""
        faults = []
        if self._unlabelled:
            these = "these rows" if len(self._unlabelled) > 1 else "this row"
            faults.append(
                f"{_rows(self._unlabelled)}: {self._needed} must not be empty; fill them in, or delete {these}"
            )
        if self._missing:
            number, path = self._missing[0]
            more = f", and {len(self._missing) - 1} more such rows" if len(self._missing) > 1 else ""
            faults.append(f"row {number}: there is no file {self._folder / path}{more}{self._meant(path)}")
        if faults:
            raise DatasetError(f"{self._table}, {'; '.join(faults)}")

    def said(self) -> list[str]:
        if not self._backslashes:
            return []
        return [f"{self._backslashes} paths of {self._table.name} are written with backslashes and read as folders"]

    def _find(self, number: int, text: str, where: str) -> str:
        path = str(inside(text, where))
        if path in self._paths:
            return path
        if "\\" in text:
            self._backslashes += 1
            path = str(inside(text.replace("\\", "/"), where))
        return path if path in self._paths else self._alike(number, path, where)

    def _alike(self, number: int, path: str, where: str) -> str:
        """Return the only file whose path has the same normal form."""
        self._by_normal = self._by_normal or _by_normal_form(self._paths)
        found = self._by_normal.get(_normal_path(path), [])
        if len(found) > 1:
            raise DatasetError(
                f"{where}: {path!r} could be any of {', '.join(map(ascii, found))}, which differ only in blanks or "
                "Unicode form: rename one of them"
            )
        if not found:
            self._missing.append((number, path))
        return found[0] if found else ""

    def _meant(self, path: str) -> str:
        """Return a hint where exactly one file has the same name elsewhere, another ending, or other capitals."""
        name = path.rpartition("/")[2].casefold()
        names = {other: other.rpartition("/")[2].casefold() for other in self._paths}
        for alike in (
            [other for other in names if other.casefold() == path.casefold()],
            [other for other, its in names.items() if its == name],
            [other for other, its in names.items() if its.rpartition(".")[0] == name],
        ):
            if len(alike) == 1:
                return f": did you mean {alike[0]!r}? Paths are relative to data.path, with their endings"
        return ": paths are relative to data.path, with their endings"


def _without_repeated(table: Path, named: Sequence[_Named]) -> tuple[list[_Named], list[str]]:
    """Return the rows without those that say the same again; DatasetError where they say something else of an image."""
    first: dict[str, _Named] = {}
    repeated: list[_Named] = []
    contradicting: list[_Named] = []
    for row in named:
        before = first.setdefault(row.id, row)
        if before is not row:
            (repeated if before[1:] == row[1:] else contradicting).append(row)
    if contradicting:
        numbers = _rows([number for row in contradicting[:1] for number in (first[row.id].number, row.number)])
        raise DatasetError(
            f"{table} names {contradicting[0].id!r} more than once, with different words ({numbers}); "
            f"{len(contradicting)} such rows in all: keep one row for each image"
        )
    said = (
        [f"{counted(len(repeated), 'row')} of {table.name} left out: said already by another one"] if repeated else []
    )
    return list(first.values()), said


def _splits(table: Path, named: Iterable[_Named]) -> dict[str, str]:
    """Return the split that each word of the table means; DatasetError for words that mean none."""
    rows = defaultdict(list)
    for row in named:
        if row.split:
            rows[row.split].append(row.number)
    unknown = [word for word in rows if not meaning(word) and not is_unlabelled(word)]
    if unknown:
        count = f" ({len(unknown)} such words)" if len(unknown) > 1 else ""
        raise DatasetError(
            f"{table}, row {rows[unknown[0]][0]}: unknown split {unknown[0]!r}{count}; known: {', '.join(COMMON)}"
        )
    without_labels = {word: UNLABELLED for word in rows if is_unlabelled(word)}
    return resolve([word for word in rows if word not in without_labels], str(table)) | without_labels


def _by_normal_form(paths: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        found[_normal_path(path)].append(path)
    return found


def _normal_path(path: str) -> str:
    return "/".join(map(normal, path.split("/")))


def _rows(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"row {listed}" if len(numbers) == 1 else f"rows {listed}{more}"
