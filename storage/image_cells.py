"""Where the bytes of each image and mask lie in the shards of an image-set, so that a shuffled epoch reads them alone.

    cells.parquet    a row for each image: shard offset, length and CRC-32C of its image and of its mask, -1 for none

Through Parquet one image costs the whole row group that it lies in, read and checked. In a page that is neither
compressed nor encoded its bytes stand as they are, so that one read at their offset is enough; they have a checksum of
their own, as that of the page is over all of it.

Shape letters: N images, 3 numbers of a cell.
"""

import os
import struct
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import atomic
from taskdistill.storage.manifest import advice
from taskdistill.storage.tables import read_arrow

CELLS = "cells.parquet"
COLUMNS = ("image", "mask")
OPEN_SHARDS = 256
"""That are kept open; systems allow a process about a thousand files."""

_GROUP_ROWS = 4096
"""Rows of a row group: of the whole table, its writer would hold every page at once."""

Places = npt.NDArray[np.int64]


class Cell(NamedTuple):
    """Where a value lies in its shard, and what it is to be like."""

    offset: int
    length: int
    crc32c: int


NOWHERE = Cell(-1, -1, -1)
SCHEMA = pa.schema([(f"{column}_{part}", pa.int64()) for column in COLUMNS for part in Cell._fields])


def write_cells(folder: Path, shards: Sequence[Path]) -> None:
    """Look up where the cells of finished shards lie, with one row group in memory at a time, and write it down."""
    groups = [group_N6 for shard in shards for group_N6 in _places_in(shard)]
    places_N6 = np.concatenate(groups) if groups else np.empty((0, len(SCHEMA)), np.int64)
    table = pa.table(list(np.ascontiguousarray(places_N6.T)), schema=SCHEMA)
    with atomic(folder / CELLS) as partial:
        # Places do not repeat: a dictionary of them would take twice the time, and memory with their number.
        pq.write_table(table, partial, use_dictionary=False, row_group_size=_GROUP_ROWS, write_page_checksum=True)


def _places_in(shard: Path) -> Iterator[Places]:
    with pq.ParquetFile(shard) as file, shard.open("rb") as raw:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
            chunks = {chunk["path_in_schema"]: chunk for chunk in file.metadata.row_group(group).to_dict()["columns"]}
            yield np.hstack([
                np.array([*_found(raw, chunks[column], table[column].to_pylist())], np.int64) for column in COLUMNS
            ])  # fmt: skip


def _found(raw: BinaryIO, chunk: Mapping[str, Any], values: Sequence[bytes | None]) -> Iterator[Cell]:
    """Yield where each value lies: after its length, behind the value before it or behind the header of a page."""
    start = chunk["data_page_offset"]
    raw.seek(start)
    pages, place = raw.read(chunk["total_compressed_size"]), 0
    for value in values:
        if value is None:
            yield NOWHERE
            continue
        stored = struct.pack("<I", len(value)) + value
        if not pages.startswith(stored, place):  # searching is slow, and there are few pages
            place = pages.index(stored, place)
        place += len(stored)
        yield Cell(start + place - len(value), len(value), google_crc32c.value(value))


class Cells:
    """The images and masks of a finished set, for any number of threads.

    CorruptArtifactError where the table of where they lie is damaged, or of another number of images.
    """

    def __init__(self, folder: Path, shards: Sequence[Path], first_rows: Places) -> None:
        """Read where they lie; `first_rows` are those of the shards, and the number of all."""
        table = read_arrow(folder, CELLS, SCHEMA)
        if table.num_rows != first_rows[-1]:
            raise CorruptArtifactError(
                f"{folder / CELLS} is of {table.num_rows} images, the set has {first_rows[-1]}: {advice(folder)}"
            )
        self._folder, self._shards, self._first_rows = folder, shards, first_rows
        self._places_N3 = {
            column: np.stack([table[f"{column}_{part}"].to_numpy() for part in Cell._fields], 1) for column in COLUMNS
        }
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._open)

    def read(self, row: int, column: str) -> bytes | None:
        """Return the bytes of a cell, None where there are none; CorruptArtifactError where they are not those that
        were written.
        """
        cell = Cell(*self._places_N3[column][row].tolist())
        if cell == NOWHERE:
            return None
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        value = self._bytes(shard, cell)
        if len(value) != cell.length or google_crc32c.value(value) != cell.crc32c:
            raise self._damaged(shard, f"the {column} in row {row} is not what was written")
        return value

    def _bytes(self, shard: int, cell: Cell) -> bytes:
        # Reading at an offset moves no place in the file, so that threads share what is open. What is kept open is kept
        # to the end, as another thread may be reading it: shards beyond those are opened for each image.
        if (kept := self._kept(shard)) is not None:
            return os.pread(kept, cell.length, cell.offset)
        descriptor = self._opened(shard)
        try:
            return os.pread(descriptor, cell.length, cell.offset)
        finally:
            os.close(descriptor)

    def _kept(self, shard: int) -> int | None:
        if (found := self._open.get(shard)) is not None or len(self._open) >= OPEN_SHARDS:
            return found
        with self._lock:
            if shard not in self._open:
                self._open[shard] = self._opened(shard)
            return self._open[shard]

    def _opened(self, shard: int) -> int:
        try:
            return os.open(self._shards[shard], os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise self._damaged(shard, str(error)) from error

    def _damaged(self, shard: int, what: str) -> CorruptArtifactError:
        return CorruptArtifactError(f"{self._shards[shard]} is damaged ({what}): {advice(self._folder)}")


def _close(descriptors: Mapping[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
