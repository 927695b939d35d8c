"""Making features, embeddings and logits chunk by chunk (storage.view_outputs says what lies where).

A chunk, S rows of one view, is the unit of writing, resuming and checking. Zarr writes a chunk to a temporary name and
renames it, and `outputs` is written after the other two, so its chunks say what is done: whatever kills a process, a
chunk that exists is whole. Zarr does not wait for the disk, so after a power cut chunks exist that are empty or torn.
They are put on the disk every few seconds, a commit waits for all of them, and whoever continues a draft reads each of
its chunks back once and removes those that do not fit their checksum.

Shape letters: N images, n those of one chunk, S rows of a chunk.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from configs.data import CLEAN_VIEW
from storage.errors import CorruptArtifactError, NotFiniteError
from storage.files import BatchedSync, atomic, read_json_if_whole
from storage.proof import is_chunk_whole
from storage.view_outputs import ARRAYS, GROUP, ROWS, Half, Part, chunk_file, descriptions, is_dense, read_rows

CHUNK_BYTES = 4 * 1024 * 1024
NUM_VIEW_FIELDS = 9
THUMBNAIL_PIXELS = 64

log = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """One unit of work: rows `start` to `stop` of a part, in one view."""

    part: str
    block: int
    view: int
    start: int
    stop: int


class Layout(NamedTuple):
    """What only the network knows: the shape of one output, and the attributes, which are the proof of what the
    outputs belong to: fingerprints of images, encoder and views, and class names.
    """

    row_shape: Sequence[int]
    attributes: Mapping[str, Any]


def rows_per_chunk(num_rows: int, row_shape: Sequence[int]) -> int:
    """S: about 4 MiB of float16, between 256 and 4096 rows and a power of two; small parts get at least 4 chunks a
    view.

    It depends on the shape of the part alone, so that no setting of speed can change the files.
    """
    # Large outputs fit in few rows, but thousands of small files are slow; of a small part a quarter, so that there is
    # something to resume and to hand to several workers.
    fitting = CHUNK_BYTES // (2 * math.prod(row_shape))
    wanted = min(max(fitting, 256), 4096, max(num_rows // 4, 64))
    return min(1 << (wanted.bit_length() - 1), max(num_rows, 1))


class ViewOutputsWriter:
    """Fills an artifact chunk by chunk, in any order; opening an earlier draft continues it.

    `layout` is asked only where the draft does not say it yet, so that continuing needs no network for it. A draft in
    the layout of format 1 is finished as it was begun, with every view of every image: that is more than is read, but
    nothing that was shown is lost, and no artifact is half of one format and half of the other.
    """

    def __init__(
        self, folder: Path, *, ids: Sequence[str], parts: Sequence[Part], layout: Callable[[], Layout]
    ) -> None:
        self._folder = folder
        if is_dense(folder):
            parts = [_every_view(folder, len(ids), parts)]
            log.info("%s was begun by an earlier version, which shows all views of all images: finished so", folder)
        self.num_rows, self.parts = len(ids), {part.name: part for part in parts}
        # In format 1 the arrays lie in the group itself: its one part has no folder.
        self._places = {name: "" if is_dense(folder) else name for name in self.parts}
        self._write_rows(ids)
        self.attributes: dict[str, Any] = {}
        """Of the layout: what the draft says already, or is said now."""
        names = [f"{GROUP}/zarr.json", *(name for place in self._places.values() for name in descriptions(place))]
        self._arrays = self._opened(names, layout)
        outputs = {name: arrays["outputs"] for name, arrays in self._arrays.items()}
        self.row_shape: tuple[int, ...] = next(iter(outputs.values())).shape[2:]
        self._rows_per_chunk = {name: int(array.chunks[0]) for name, array in outputs.items()}
        self._synced = BatchedSync(folder)
        # With the first chunks: without their descriptions, chunks that a power cut spared could not be read.
        self._synced.add(*(folder / name for name in names))

    @property
    def num_shown(self) -> int:
        """How many images, in how many views each, all chunks together hold."""
        return sum(part.num_shown for part in self.parts.values())

    def chunks(self) -> list[Chunk]:
        """Every chunk, views of the same rows together."""
        return [
            Chunk(name, block, view, start, min(start + self._rows_per_chunk[name], len(part.rows)))
            for name, part in self.parts.items()
            for block, start in enumerate(range(0, len(part.rows), self._rows_per_chunk[name]))
            for view in part.views
        ]

    def rows_of(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """Return the images of a chunk: their rows among all."""
        return self.parts[chunk.part].rows[chunk.start : chunk.stop]

    def missing(self) -> list[Chunk]:
        """Chunks still to be made."""
        return [chunk for chunk in self.chunks() if not self._files(chunk)[-1].is_file()]

    def remove_damaged(self) -> list[Chunk]:
        """Read back the chunks that are there, and remove and return those that are not whole, as power cuts leave
        them.
        """
        there = [chunk for chunk in self.chunks() if self._files(chunk)[-1].is_file()]
        damaged = [chunk for chunk in there if not all(map(is_chunk_whole, self._files(chunk)))]
        for chunk in damaged:
            # `missing` looks for this file alone; the other two are replaced when the chunk is made again.
            self._files(chunk)[-1].unlink()
        return damaged

    def write(
        self, chunk: Chunk, outputs: Half, views: npt.NDArray[np.float32], thumbnails: npt.NDArray[np.uint8]
    ) -> None:
        """Store one whole chunk: outputs [n, ...], views [n, 9], thumbnails [n, 64]; NotFiniteError where float16
        cannot hold them.
        """
        # float16 ends at 65504: what is larger has become infinite on the way here, and would be learnt from.
        if not np.isfinite(outputs).all():
            raise NotFiniteError(
                f"the network's outputs for rows {chunk.start} to {chunk.stop}, view {chunk.view} are not finite in "
                "float16: its weights, its normalisation (mean, std) or its precision are wrong"
            )
        rows, column = slice(chunk.start, chunk.stop), self._column(chunk)
        arrays = self._arrays[chunk.part]
        arrays["views"][rows, column] = views
        arrays["thumbnails"][rows, column] = thumbnails
        # Last, as `missing` looks for this file alone: when it is there, the other two are.
        arrays["outputs"][rows, column] = outputs
        self._synced.add(*self._files(chunk))

    def _files(self, chunk: Chunk) -> list[Path]:
        """Return the files of a chunk in the order in which they are written."""
        arrays, place = self._arrays[chunk.part], self._folder / GROUP / self._places[chunk.part]
        return [
            chunk_file(place / name, arrays[name], chunk.block, self._column(chunk))
            for name in ("views", "thumbnails", "outputs")
        ]

    def _column(self, chunk: Chunk) -> int:
        return chunk.view - self.parts[chunk.part].views.start

    def _write_rows(self, ids: Sequence[str]) -> None:
        # The workers of a run open the same draft: what is there already and right is not written again under the eyes
        # of the others.
        part_N = np.full(len(ids), "", object)
        for name, part in self.parts.items():
            part_N[part.rows] = self._places[name]
        if _has_rows(self._folder, ids, part_N.tolist()):
            return
        columns = {"id": pa.array(ids, pa.string())}
        if not is_dense(self._folder):
            columns["part"] = pa.array(part_N.tolist(), pa.string())
        with atomic(self._folder / ROWS) as partial:
            pq.write_table(pa.table(columns), partial, write_page_checksum=True)

    def _opened(self, names: Sequence[str], layout: Callable[[], Layout]) -> dict[str, dict[str, Any]]:
        """Open the arrays of each part, and make those that are not there.

        Descriptions that a power cut left empty or torn are removed first; opening for writing makes them again.
        """
        for path in (self._folder / name for name in names):
            if path.is_file() and read_json_if_whole(path) is None:
                path.unlink()
        if all((self._folder / name).is_file() for name in names):
            group = zarr.open_group(self._folder / GROUP, mode="r+")
            self.attributes = dict(group.attrs)
            return {name: _existing(_group_of(group, place)) for name, place in self._places.items()}
        # Where one description is missing all are asked for again: those that are there are kept as they are.
        row_shape, attributes = layout()
        group = zarr.open_group(self._folder / GROUP, mode="a", attributes=dict(attributes))
        self.attributes = dict(group.attrs)
        return {
            name: _made(_group_of(group, place), self.parts[name], row_shape) for name, place in self._places.items()
        }


def _every_view(folder: Path, num_rows: int, parts: Sequence[Part]) -> Part:
    """Return the single part of a draft of format 1, by its own description or, where that is torn, as it must be."""
    description = read_json_if_whole(folder / GROUP / "outputs" / "zarr.json")
    num_views = description["shape"][1] if description else max(part.views.stop for part in parts)
    return Part(np.arange(num_rows), range(CLEAN_VIEW, num_views))


def _group_of(group: zarr.Group, place: str) -> zarr.Group:
    return group.require_group(place) if place else group


def _existing(group: zarr.Group) -> dict[str, Any]:
    # Without this setting zarr leaves out a chunk that is all fill value, and it would be missing for ever.
    return {name: cast(Any, group[name]).with_config({"write_empty_chunks": True}) for name in ARRAYS}


def _made(group: zarr.Group, part: Part, row_shape: Sequence[int]) -> dict[str, Any]:
    forms: dict[str, tuple[Sequence[int], str, float]] = {
        "outputs": (row_shape, "float16", math.nan),
        "views": ((NUM_VIEW_FIELDS,), "float32", math.nan),
        "thumbnails": ((THUMBNAIL_PIXELS,), "uint8", 0),
    }
    for name, (shape, dtype, fill) in forms.items():
        if name not in group:
            # One view a chunk, as readers want one view at a time; one byte order, so that every machine writes the
            # same bytes; and a checksum where others compress.
            group.create_array(
                name,
                shape=(len(part.rows), len(part.views), *shape),
                chunks=(rows_per_chunk(len(part.rows), row_shape), 1, *shape),
                dtype=dtype,
                serializer=BytesCodec(endian="little"),
                compressors=[Crc32cCodec()],
                fill_value=fill,
            )
    return _existing(group)


def _has_rows(folder: Path, ids: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the ids are there and can be read; a power cut may have torn them."""
    try:
        return (folder / ROWS).is_file() and read_rows(folder) == (list(ids), list(parts))
    except CorruptArtifactError:
        return False
