"""Dataset form "table": a CSV or Parquet file with the columns path, label and, if it likes, split and mask.

Paths are relative to the dataset's folder and must stay inside it: a table may come from anywhere.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from configs.data import IngestConfig
from tasks.data.candidates import SPLIT_NAMES, Candidate, DatasetError, dataset_folder

# Else the label 007 would become 7, and the label NA nothing.
_TEXT = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("path", "label", "split", "mask"), pa.string()))


def list_images(config: IngestConfig) -> list[Candidate]:
    """Return the table's rows as candidates; DatasetError names the first row that cannot be used."""
    folder = dataset_folder(config)
    table = folder / _inside(config.table, "data.table")
    rows = _read(table)
    candidates = [_candidate(folder, table, number, row) for number, row in enumerate(rows, start=1)]
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.id in seen:
            raise DatasetError(f"{table} names {candidate.id!r} more than once: keep one row for each image")
        seen.add(candidate.id)
    return candidates


def _candidate(folder: Path, table: Path, number: int, row: dict[str, Any]) -> Candidate:
    where = f"{table}, row {number}"
    if row["path"] in (None, "") or row["label"] in (None, ""):
        raise DatasetError(f"{where}: path and label must not be empty, found {row}")
    relative = _inside(str(row["path"]), where)
    mask = _inside(str(row["mask"]), where) if row.get("mask") else None
    for named in (relative, mask):
        if named and not (folder / named).is_file():
            raise DatasetError(f"{where}: there is no file {folder / named}")
    split = str(row.get("split") or "").lower()
    if split and split not in SPLIT_NAMES:
        raise DatasetError(f"{where}: unknown split {row['split']!r}; known: {', '.join(SPLIT_NAMES)}")
    label, path = str(row["label"]), folder / relative
    return Candidate(str(relative), path, label, SPLIT_NAMES.get(split, ""), folder / mask if mask else None)


def _inside(path: str, where: str) -> PurePosixPath:
    relative = PurePosixPath(path)
    if any(part.startswith(".") and part != ".." for part in relative.parts):
        raise DatasetError(f"{where}: {path!r} is hidden, and hidden files have no part in a dataset: rename it")
    if relative.is_absolute() or ".." in relative.parts:
        raise DatasetError(f"{where}: {path!r} leads out of the dataset's folder: use paths relative to data.path")
    return relative


def _read(table: Path) -> list[dict[str, Any]]:
    if not table.is_file():
        raise DatasetError(f"data.table: there is no file {table}")
    try:
        read = (
            pq.read_table(table) if table.suffix == ".parquet" else pyarrow.csv.read_csv(table, convert_options=_TEXT)
        )
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{table} cannot be read as {table.suffix or 'a table'}: {error}") from error
    if missing := {"path", "label"} - set(read.column_names):
        raise DatasetError(f"{table} lacks the columns {sorted(missing)}; it has {read.column_names}")
    rows: list[dict[str, Any]] = read.to_pylist()
    return rows
