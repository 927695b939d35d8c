"""The table of predictions: CSV or Parquet, written as a whole, and continued where it left off.

    predictions.csv                  a row for each image
    predictions.csv.settings.json    by which model and settings; another model's rows are not mixed with these
    predictions.csv.unfinished       rows since the last whole table, one JSON object a line; a killed run leaves it
    predictions.left-out.csv         images that could not be predicted, and why
    predictions-mask/, ...           pictures, where answers have some

Held in memory are the names that are done, and no row.
"""

import csv
import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from taskdistill.configs.errors import SettingsError
from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.files import atomic, read_json_if_whole
from taskdistill.storage.tree import as_text
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.deploy.answering import Answered, Unusable
from taskdistill.tasks.deploy.sources import Wanted
from taskdistill.tasks.problems.answers import AnswerForm
from taskdistill.tasks.problems.mask_answers import OVERLAY

PATH = "path"
ROWS_AT_ONCE = 10_000
LONGEST_NAME = 255
"""Bytes of a file's name, on the file systems of today."""
_ENDINGS = {OVERLAY: ".jpg"}
"""Of pictures that are no PNG: an overlay is to be looked at."""

Row = dict[str, Any]


class AnswerTable:
    """One table that is being written, while it is open."""

    def __init__(self, path: Path, form: AnswerForm, made_by: Mapping[str, Any]) -> None:
        self.path, self._form = path, form
        self._columns = {PATH: str, **form.columns, **dict.fromkeys(form.pictures, str)}
        self._settings, self._made_by = path.with_name(f"{path.name}.settings.json"), json.loads(json.dumps(made_by))
        self._journal = path.with_name(f"{path.name}.unfinished")
        self._left_out = path.with_name(f"{path.stem}.left-out.csv")

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Hold the table, as the only process; whatever ends the block, rows that were added are in it afterwards.

        Raises SettingsError where it was made with other settings, StillNeededError where another process has it.
        """
        # The lock is on the file of settings, which is therefore written in place: another under its name is no lock.
        with self._settings.open("a+", encoding="utf-8") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StillNeededError(f"another process writes {self.path}: wait for it, or name another") from None
            if self._check_settings() != self._made_by:
                held.truncate(0)
                held.write(json.dumps(self._made_by, indent=2) + "\n")
                held.flush()
            self._mend_journal()
            try:
                yield self
            finally:
                self._mend_journal()  # what ended the block may be a full disk
                self._finish()

    def done(self) -> set[str]:
        """Return the names of the images that are in the table, or were being written to it."""
        return {row[PATH] for row in self._rows_so_far()}

    def add(self, answered: Sequence[Answered]) -> None:
        """Note the answers for some images; their pictures are written first."""
        rows = [self._row(one) for one in answered]
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write("".join(json.dumps(row) + "\n" for row in rows))

    def leave_out(self, unusable: Sequence[Unusable]) -> None:
        """Write the list of images that could not be predicted this time; none where there are none."""
        self._left_out.unlink(missing_ok=True)
        if unusable:
            rows = ({PATH: as_text(one.name), "reason": one.reason} for one in unusable)
            _write_csv(self._left_out, [PATH, "reason"], rows)

    @property
    def left_out(self) -> Path:
        return self._left_out

    def picture_folder(self, kind: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-{kind}")

    def others(self, images: Sequence[Wanted]) -> list[Wanted]:
        """Return the images that are no pictures of this table: those lie beside it, where its images may lie too."""
        folders = {self.picture_folder(kind).resolve() for kind in self._form.pictures}
        if not any(folder.is_dir() for folder in folders):
            return list(images)
        real = {folder: folder.resolve() for folder in {image.file.parent for image in images}}
        own = {folder for folder, place in real.items() if folders & {place, *place.parents}}
        return [image for image in images if image.file.parent not in own]

    def _row(self, one: Answered) -> Row:
        pictures = {kind: self._drawn(kind, one.name, picture) for kind, picture in one.answer.pictures.items()}
        return {PATH: as_text(one.name), **one.answer.columns, **pictures}

    def _drawn(self, kind: str, name: str, picture: Image.Image) -> str:
        """Write a picture; returns its place beside the table."""
        # What an image is called may lead anywhere; its picture must not.
        parts = [{"..": "up"}.get(part, part) for part in Path(as_text(name)).parts if part not in ("/", ".")]
        path = self.picture_folder(kind).joinpath(*parts)
        path = path.with_name(_fitting(path.name, _ENDINGS.get(kind, ".png")))
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `atomic`, whose waiting for the disk takes longer than a network does: the row comes after the picture.
        picture.save(path, quality=90) if kind in _ENDINGS else picture.save(path)
        return path.relative_to(self.path.parent).as_posix()

    def _check_settings(self) -> Any:
        """Return the settings that are noted beside the table; SettingsError where it was made with others."""
        before = read_json_if_whole(self._settings)
        if not self.path.exists() and not self._journal.exists():
            return before
        another = "remove it, or name another --output"
        if not isinstance(before, dict):
            raise SettingsError(f"{self.path} is there, and nothing says which model made it: {another}")
        if differing := [name for name in self._made_by | before if self._made_by.get(name) != before.get(name)]:
            name = differing[0]
            raise SettingsError(
                f"{self.path} was made with {name} {before.get(name)!r}, and now it would be "
                f"{self._made_by.get(name)!r}: {another}"
            )
        return before

    def _mend_journal(self) -> None:
        """Take from the journal the half of a line that a killed run left at its end: that image is done again."""
        if self._journal.exists():
            with self._journal.open("r+b") as journal:
                journal.truncate(sum(len(line) for line in journal if line.endswith(b"\n")))

    def _finish(self) -> None:
        """Write the whole table, with what was there before."""
        if self.path.exists() and not self._journal.exists():
            return
        write = _write_csv if self.path.suffix.lower() == ".csv" else self._write_parquet
        write(self.path, list(self._columns), self._rows_so_far())
        self._journal.unlink(missing_ok=True)

    def _rows_so_far(self) -> Iterator[Row]:
        if self.path.exists():
            yield from _read_csv(self.path) if self.path.suffix.lower() == ".csv" else _read_parquet(self.path)
        if self._journal.exists():
            with self._journal.open(encoding="utf-8") as journal:
                yield from map(json.loads, journal)

    def _write_parquet(self, path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
        types = {str: pa.string(), float: pa.float64()}
        schema = pa.schema([(name, types[self._columns[name]]) for name in names])
        with atomic(path) as partial, pq.ParquetWriter(partial, schema) as writer:
            for part in _parts(rows):
                writer.write_table(pa.Table.from_pylist(part, schema=schema))


class _Lines(NamedTuple):
    """What a csv.writer writes to whose lines end in a carriage return too: before Python 3.13 it puts a name that
    holds one in quotes only then.
    """

    file: TextIO

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    with atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(_Lines(file), names, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if PATH not in (reader.fieldnames or []):
            raise DatasetError(f"{path} has no column {PATH!r}, and is no table of predictions: name another --output")
        yield from reader


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{path} cannot be read ({error}), to be continued: name another --output") from error


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == ROWS_AT_ONCE:
            yield part
            part = []
    yield part


def _fitting(name: str, ending: str) -> str:
    """Return a name with an ending behind it, of a length that file systems take."""
    whole = name.encode()
    if len(whole) + len(ending) <= LONGEST_NAME:
        return name + ending
    mark = f"-{hashlib.sha256(whole).hexdigest()[:8]}{ending}"  # two of the same beginning stay two
    return whole[: LONGEST_NAME - len(mark)].decode(errors="ignore") + mark
