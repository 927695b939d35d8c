"""Images out of the row groups of shards, for image-sets of format 1, which do not say where their bytes lie.

A row group holds half a megabyte, and is read and checked whole for each image.
"""

import itertools
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskdistill.storage.errors import CorruptArtifactError

READ_ERRORS = (OSError, pa.ArrowException, LookupError, UnicodeDecodeError)
"""What pyarrow raises on damaged files; headers and names in them have no checksum."""
OPEN_SHARDS = 16
"""That a thread keeps open; systems allow a process about a thousand files."""


class RowGroups:
    """The images and masks of a finished set, for any number of threads."""

    def __init__(
        self,
        opened: Callable[[int], pq.ParquetFile],
        damaged: Callable[[int, Exception], CorruptArtifactError],
        first_rows: npt.NDArray[np.int64],
    ) -> None:
        """`opened` opens a shard, `damaged` says that one is damaged; `first_rows` are those of the shards."""
        self._opened, self._damaged, self._first_rows = opened, damaged, first_rows
        self._open = threading.local()  # a reader has a place in its file, which two threads would move

    def read(self, row: int, column: str) -> bytes | None:
        """Return the bytes of a cell, None where there are none; CorruptArtifactError for damage."""
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        file, group_starts = self._shard(shard)
        local = row - int(self._first_rows[shard])
        group = int(np.searchsorted(group_starts, local, side="right")) - 1
        try:
            cells = file.read_row_group(group, columns=[column], use_threads=False)[column]
            value: bytes | None = cells[local - int(group_starts[group])].as_py()
        except READ_ERRORS as error:
            raise self._damaged(shard, error) from error
        return value

    def _shard(self, shard: int) -> tuple[pq.ParquetFile, npt.NDArray[np.int64]]:
        """An open shard and the first row of each of its groups; one of each per thread, as readers are not shared."""
        opened: dict[int, tuple[pq.ParquetFile, npt.NDArray[np.int64]]] = self._open.__dict__.setdefault("shards", {})
        if shard not in opened:
            while len(opened) >= OPEN_SHARDS:  # the one opened first goes
                opened.pop(next(iter(opened)))[0].close()
            file = self._opened(shard)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            opened[shard] = file, np.fromiter(itertools.accumulate([0, *sizes[:-1]]), np.int64)
        return opened[shard]
