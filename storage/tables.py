"""Arrow schemas of the small tables inside artifacts, and reading and writing them whole.

Shape letters: N images, K classes.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskdistill.storage.columns import NOTHING_ADDED, Columns
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import atomic
from taskdistill.storage.formats import Added, completed
from taskdistill.storage.manifest import advice, check_layout

SOURCE_FILES = pa.schema([("id", pa.string()), ("sha256", pa.string()), ("quarantined", pa.string())])
LEFT_OUT = pa.schema([("path", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
DUPLICATES = pa.schema(
    [
        ("sha256", pa.string()),
        ("ids", pa.list_(pa.string())),
        ("splits", pa.list_(pa.string())),
        ("labels", pa.list_(pa.string())),
    ]
)
HISTORY = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("learning_rate", pa.float64()),
        ("loss", pa.float64()),
        ("task_loss", pa.float64()),
        ("distill_loss", pa.float64()),
        ("val_score", pa.float64()),
    ]
)
PROBE_GRID = pa.schema(
    [
        ("input", pa.string()),
        ("learning_rate", pa.float64()),
        ("val_score", pa.float64()),
        ("val_loss", pa.float64()),
    ]
)
FOLDS = pa.schema([("id", pa.string()), ("fold", pa.int64())])
TRIALS = pa.schema(
    [
        ("rung", pa.int64()),
        ("seed", pa.int64()),
        ("fold", pa.int64()),
        ("learning_rate", pa.float64()),
        ("alpha", pa.float64()),
        ("temperature", pa.float64()),
        ("steps", pa.int64()),
        ("images", pa.int64()),
        ("score", pa.float64()),
        ("standard_error", pa.float64()),
        ("difference", pa.float64()),
        ("difference_standard_error", pa.float64()),
        ("went_on", pa.bool_()),
        ("diverged", pa.string()),
    ]
)
"""Settings that were tried; the difference is that to the default. Without a fold: all held-out images together."""

PAIRS = pa.schema([("id", pa.string()), ("parent_a", pa.string()), ("parent_b", pa.string()), ("seed", pa.int64())])
BLENDS = pa.schema(
    [
        ("id", pa.string()),
        ("parent_a", pa.string()),
        ("parent_b", pa.string()),
        ("similarity_a", pa.float32()),
        ("similarity_b", pa.float32()),
        ("nearest_held_out", pa.string()),
        ("similarity_held_out", pa.float32()),
    ]
)
SELECTION = pa.schema(
    [
        ("id", pa.string()),
        ("is_kept", pa.bool_()),
        ("flags", pa.string()),
        ("teacher_entropy", pa.float32()),
        ("similarity_a", pa.float32()),
        ("similarity_b", pa.float32()),
        ("similarity_held_out", pa.float32()),
    ]
)

_GROUP_ROWS = 1024
"""Rows that are in memory at once as dictionaries, which are large: a row group of the file."""

ADDED: dict[str, Mapping[str, Added]] = {}
"""Name of a file -> its columns that came with a later format of its artifact than the first."""


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of a schema to Parquet, all or nothing; missing columns are null. Few are in memory at once, where
    they come one by one.
    """
    waiting = iter(rows)
    with atomic(path) as partial, pq.ParquetWriter(partial, schema, write_page_checksum=True) as writer:
        while group := list(itertools.islice(waiting, _GROUP_ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns whose names and types a problem decides, such as predictions; of an array [N, K] each row becomes
    a list.
    """
    with atomic(path) as partial:
        table = pa.table({name: _with_lists(column) for name, column in columns.items()})
        pq.write_table(table, partial, write_page_checksum=True)


def _with_lists(column: Any) -> Any:
    return list(column) if isinstance(column, np.ndarray) and column.ndim > 1 else column


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table that lies directly in an artifact; CorruptArtifactError where it is damaged."""
    table, found = _read(path.parent, path.name)
    return [completed(row, _added(path.name), found) for row in table.to_pylist()]


def read_arrow(folder: Path, name: str, schema: pa.Schema) -> pa.Table:
    """Return a table of an artifact or a draft as Arrow columns, which take a few bytes a row where dictionaries take
    hundreds; CorruptArtifactError where it is damaged or its columns are others.
    """
    table, found = _read(folder, name)
    columns = Columns(schema, _added(name))
    if not table.schema.equals(columns.in_format(found)):
        raise CorruptArtifactError(f"{folder / name} has the columns {', '.join(table.column_names)}: {advice(folder)}")
    return columns.completed(table, found)


def read_column(path: Path, column: str) -> list[Any]:
    """Return one column of a table that lies directly in an artifact, and read no other; CorruptArtifactError where it
    is damaged.
    """
    found = check_layout(path.parent, [path.name])
    if (one := _added(path.name).get(column)) and one.format > found:
        return [one.neutral] * int(pq.read_metadata(path).num_rows)
    values: list[Any] = _table(path.parent, path.name, [column])[column].to_pylist()
    return values


def read_matrix(path: Path, column: str) -> npt.NDArray[Any]:
    """Return one column of numbers of a table that lies directly in an artifact, [N, K] where its cells are lists of
    length K, else [N, 1]; CorruptArtifactError where it is damaged.
    """
    check_layout(path.parent, [path.name])
    found = _table(path.parent, path.name, [column])[column].combine_chunks()
    values = found.flatten() if pa.types.is_list(found.type) else found
    return np.asarray(values.to_numpy(zero_copy_only=False).reshape(len(found), -1))


def has_column(path: Path, column: str) -> bool:
    """Say whether a table that lies directly in an artifact has a column: a problem decides on those of predictions,
    and older ones may lack some. CorruptArtifactError where the table is damaged or not there.
    """
    try:
        return column in pq.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _added(name: str) -> Mapping[str, Added]:
    return ADDED.get(name, NOTHING_ADDED)


def _read(folder: Path, name: str) -> tuple[pa.Table, int]:
    """Return a table as it is, and the format of its artifact."""
    found = check_layout(folder, [name])
    return _table(folder, name), found


def _table(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        # Not pq.read_table, which imports pandas where that is installed: as long as a command takes for all else.
        with pq.ParquetFile(folder / name, page_checksum_verification=True) as file:
            if missing := set(columns or ()) - set(file.schema_arrow.names):
                raise pa.ArrowKeyError(f"it has no column {', '.join(missing)}")
            return file.read(columns)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(folder / name, error) from error


def _damaged(path: Path, error: Exception) -> CorruptArtifactError:
    return CorruptArtifactError(f"{path} is damaged ({error}): {advice(path.parent)}")
