"""How each view that was shown was cut, and a thumbnail of it: the array "shown" of a part (storage.view_outputs).

Both are a hundred bytes where outputs are thousands, so that a chunk holds all views of many rows. Who asks for some
rows asks for those beside them, and for the same rows of the next view: the chunk that was read last is kept.

Shape letters: n v images and views of a part, b bytes.
"""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from taskdistill.storage.chunk_rows import chunk_file
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.manifest import advice

SHOWN = "shown"
NUM_VIEW_FIELDS = 9
VIEW_BYTES = 4 * NUM_VIEW_FIELDS
THUMBNAIL_PIXELS = 64
SHOWN_BYTES = VIEW_BYTES + THUMBNAIL_PIXELS


class ShownViews:
    """That array of a finished artifact, open for reading from any number of threads."""

    def __init__(self, artifact: Path, folder: Path, array: Any) -> None:
        self._artifact, self._folder, self._array = artifact, folder, array
        self._last: tuple[int, npt.NDArray[np.uint8]] | None = None

    def fields(self, start: int, stop: int, column: int) -> npt.NDArray[np.float32]:
        """Return how rows `start` to `stop` were cut in one view, [stop - start, 9]; CorruptArtifactError for damage,
        here and below.
        """
        fields_nb = np.ascontiguousarray(self._rows(start, stop)[:, column, :VIEW_BYTES])
        return cast(npt.NDArray[np.float32], fields_nb.view("<f4"))

    def thumbnails(self, start: int, stop: int, column: int) -> npt.NDArray[np.uint8]:
        """Return the thumbnails of these rows in one view, [stop - start, 64]."""
        return self._rows(start, stop)[:, column, VIEW_BYTES:].copy()  # a part of it would keep all of it in memory

    def _rows(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return all that is there of some rows, [stop - start, v, 100]."""
        size = self._array.chunks[0]
        blocks = range(start // size, math.ceil(stop / size))
        found = [self._block(block)[max(start - block * size, 0) : stop - block * size] for block in blocks]
        return np.concatenate(found) if len(found) != 1 else found[0]

    def _block(self, block: int) -> npt.NDArray[np.uint8]:
        last = self._last  # once, as another thread may put another there
        if last and last[0] == block:
            return last[1]
        size, (num_rows, num_views, _) = self._array.chunks[0], self._array.shape
        rows = slice(block * size, min((block + 1) * size, num_rows))
        found_nvb = stored_rows(self._artifact, self._folder, self._array, rows, slice(0, num_views))
        self._last = block, found_nvb
        return found_nvb


def stored_rows(artifact: Path, folder: Path, array: Any, rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Return rows of an array in some of its views, [rows, columns, ...]; CorruptArtifactError where a chunk of them is
    missing or damaged.
    """
    num_rows, num_columns = array.chunks[:2]
    for block in range(rows.start // num_rows, math.ceil(rows.stop / num_rows)):
        for column in range(columns.start // num_columns, math.ceil(columns.stop / num_columns)):
            path = chunk_file(folder, array, block, column)
            if not path.is_file():  # zarr would read it as a chunk of fill values
                raise CorruptArtifactError(f"{path} is missing: {advice(artifact)}")
    try:
        return np.asarray(array[rows, columns])
    except ValueError as error:  # the CRC-32C codec, or a short file
        raise CorruptArtifactError(
            f"a chunk of {folder}, rows {rows.start} to {rows.stop}, is damaged ({error}): {advice(artifact)}"
        ) from error
