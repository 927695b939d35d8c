"""Single rows of an array, read straight from its chunk files: for outputs so large that a view of them is no longer
held in memory, and a batch wants a few rows of many chunks.

A chunk that is neither compressed nor sharded is its rows one after the other and a CRC-32C of all of them, so that the
place of a row in the file is known. When the first row of a chunk is asked for, the whole chunk is read once in small
pieces and its checksum compared; after that only the rows that are asked for are read, for as long as the artifact is
open. Together that is one reading of every chunk that is used, at 0.05 ms for a megabyte that is in memory.

Rows are read with plain reads and not through a mapping of the file into memory. What a mapping has touched counts as
memory of the process, up to whole chunks for each that is mapped; and where a file is shorter than it was, or its disk
fails, a mapping ends the process with SIGBUS, and a read is an error that can be told. Nothing stays open in between:
to open a file costs some microseconds.

Shape letters: N rows, b bytes of a row.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.manifest import advice
from taskdistill.storage.proof import CRC_BYTES, is_chunk_whole

_PLAIN = ["bytes", "crc32c"]


class ChunkRows:
    """The rows of one array. For any number of threads: at worst two of them compare the same checksum."""

    def __init__(self, artifact: Path, array_folder: Path, array: Any) -> None:
        self._artifact, self._folder, self._array = artifact, array_folder, array
        self._rows_per_chunk = int(array.chunks[0])
        self._row_shape: tuple[int, ...] = array.shape[2:]
        self._dtype = np.dtype(array.dtype).newbyteorder("<")  # as the writer asks for, on every machine
        self._codecs = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
        self._whole: set[tuple[int, int]] = set()
        """Chunks whose checksum was compared."""

    def take(self, rows_N: npt.NDArray[np.int64], column: int) -> npt.NDArray[Any]:
        """Return rows [N, ...] of one view in the order asked for; `column` is the place of the view in the array.

        Raises CorruptArtifactError where a chunk is damaged, or is not stored plainly.
        """
        if self._codecs != _PLAIN:
            raise self._not_plain()
        num_bytes = self._dtype.itemsize * int(np.prod(self._row_shape))
        found_Nb = np.empty((len(rows_N), num_bytes), np.uint8)
        blocks_N, rows_in_chunk_N = np.divmod(rows_N, self._rows_per_chunk)
        for block in np.unique(blocks_N).tolist():
            places = np.flatnonzero(blocks_N == block)
            self._read(block, column, rows_in_chunk_N[places], places, found_Nb)
        found: npt.NDArray[Any] = found_Nb.view(self._dtype).reshape(len(rows_N), *self._row_shape)
        return found

    def _read(
        self,
        block: int,
        column: int,
        rows: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        found_Nb: npt.NDArray[np.uint8],
    ) -> None:
        """Read rows of one chunk into these places of what was found."""
        path = chunk_file(self._folder, self._array, block, column)
        if (block, column) not in self._whole:
            if not is_chunk_whole(path):
                raise self._damaged(path)
            self._whole.add((block, column))
        num_bytes = found_Nb.shape[1]
        with path.open("rb") as file:
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                file.seek(row * num_bytes)
                if file.readinto(found_Nb[place]) != num_bytes:  # it was whole when it was first read
                    raise self._damaged(path)

    def _damaged(self, path: Path) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"a chunk of {self._folder}, {path}, is missing or damaged: {advice(self._artifact)}"
        )

    def _not_plain(self) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"{self._folder} is stored with the codecs {self._codecs}, and rows are read from files with {_PLAIN} "
            f"alone, as this program writes them: {advice(self._artifact)}"
        )


def chunk_file(array_folder: Path, array: Any, block: int, column: int) -> Path:
    """Return the file of one chunk: `block` numbers the chunks of rows, `column` the views of the part."""
    rest = (0,) * (len(array.shape) - 2)
    return array_folder / str(array.metadata.encode_chunk_key((block, column, *rest)))


def chunk_size(array: Any) -> int:
    """Return how many bytes the file of each chunk has, which the last ones have too: they are filled up."""
    return int(math.prod(array.chunks)) * int(array.dtype.itemsize) + CRC_BYTES
