"""Making features, embeddings and logits chunk by chunk (storage.view_outputs says what lies where).

A chunk, S rows of one view, is the unit of writing, resuming and checking. Zarr writes a chunk to a temporary name and
renames it, and `outputs` is written after all others, so its chunks say what is done: whatever kills a process, a
chunk that exists is whole. Zarr does not wait for the disk, so after a power cut chunks exist that are empty or torn.
They are put on the disk every few seconds, a commit waits for all of them, and whoever continues a draft reads each of
its chunks back once and removes those that do not fit their checksum. When all are there, `gather` puts the small
arrays together: until then nobody shares a file with another, and afterwards a few files hold what tens of thousands
did.

Shape letters: N images, n those of one chunk, S rows of a chunk.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.configs.stages import StoredLogits
from taskdistill.storage.chunk_rows import chunk_file, chunk_size
from taskdistill.storage.digesting_store import DigestingStore
from taskdistill.storage.errors import CacheMismatchError, CorruptArtifactError, NotFiniteError
from taskdistill.storage.files import read_json_if_whole
from taskdistill.storage.int8_rows import quantised
from taskdistill.storage.notes import BatchedSync, digested
from taskdistill.storage.proof import is_chunk_whole
from taskdistill.storage.shown_views import SHOWN
from taskdistill.storage.view_arrays import gather, make_arrays, writable
from taskdistill.storage.view_outputs import (
    GROUP,
    ROWS,
    SCALES,
    Half,
    Part,
    descriptions,
    is_of_format_1,
    made_arrays_of,
    read_rows,
)

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
    stored: StoredLogits = "fp16"
    """How each number is kept; not the network but the settings say so."""


class ViewOutputsWriter:
    """Fills an artifact chunk by chunk, in any order; opening an earlier draft continues it.

    `parts` are of rows among `ids`; images that are in none of them are left out. `layout` is asked only where the
    draft does not say it yet, so that continuing needs no network for it. A draft of an earlier version, which showed
    more than is read, is finished as it was begun: nothing that was shown is lost, and no artifact is half of one kind
    and half of another. CacheMismatchError where a draft was begun from other images.
    """

    def __init__(
        self, folder: Path, *, ids: Sequence[str], parts: Sequence[Part], layout: Callable[[], Layout]
    ) -> None:
        self._folder = folder
        self.parts = {part.name: part for part in _as_begun(folder, len(ids), parts)}
        # In format 1 the arrays lie in the group itself: its one part has no folder.
        self._places = {name: "" if is_of_format_1(folder) else name for name in self.parts}
        self._write_rows(ids)
        self.attributes: dict[str, Any] = {}
        """Of the layout: what the draft says already, or is said now."""
        self._store = DigestingStore(folder / GROUP)
        self._arrays = self._opened(layout)
        outputs = {name: arrays["outputs"] for name, arrays in self._arrays.items()}
        self.row_shape: tuple[int, ...] = next(iter(outputs.values())).shape[2:]
        self._rows_per_chunk = {name: int(array.chunks[0]) for name, array in outputs.items()}
        self._synced = BatchedSync(folder)
        # With the first chunks: without their descriptions, chunks that a power cut spared could not be read.
        self._synced.add(*map(self._store.take, self._descriptions()))

    @property
    def num_rows(self) -> int:
        """How many images the artifact is of."""
        return sum(len(part.rows) for part in self.parts.values())

    @property
    def num_shown(self) -> int:
        """How many images, in how many views each, all chunks together hold."""
        return sum(part.num_shown for part in self.parts.values())

    @property
    def num_written(self) -> int:
        """How many of these are in chunks that are there."""
        return self.num_shown - sum(chunk.stop - chunk.start for chunk in self.missing())

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
        damaged = [chunk for chunk in there if not self._is_whole(chunk)]
        for chunk in damaged:
            # `missing` looks for this file alone; the others are replaced when the chunk is made again.
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
        kept: npt.NDArray[Any] = outputs
        if SCALES in arrays:
            kept, arrays[SCALES][rows, column] = quantised(outputs)
        # Last, as `missing` looks for this file alone: when it is there, the others are.
        arrays["outputs"][rows, column] = kept
        self._synced.add(*map(self._store.take, self._files(chunk)))

    def flush(self) -> None:
        """Wait until all chunks that were written are on the disk."""
        self._synced.flush()

    def gather(self) -> None:
        """Put what is small together in few files, when all chunks are there; in format 1 all stays as it is."""
        if is_of_format_1(self._folder):
            return
        group = zarr.open_group(self._store, mode="r+")
        for name, part in self.parts.items():
            shown = gather(_group_of(group, name), part)
            folder = self._folder / GROUP / name / SHOWN
            blocks = [chunk_file(folder, shown, block, 0) for block in range(shown.cdata_shape[0])]
            self._synced.add(*map(self._store.take, (folder / "zarr.json", *blocks)))
        self.flush()

    def _is_whole(self, chunk: Chunk) -> bool:
        sizes = [chunk_size(array) for array in self._arrays[chunk.part].values()]
        # The size too: where a description was lost, an earlier version may have begun it in chunks of other rows.
        return all(
            is_chunk_whole(path) and path.stat().st_size == size
            for path, size in zip(self._files(chunk), sizes, strict=True)
        )

    def _files(self, chunk: Chunk) -> list[Path]:
        """Return the files of a chunk in the order in which they are written."""
        place, column = self._folder / GROUP / self._places[chunk.part], self._column(chunk)
        arrays = self._arrays[chunk.part].items()
        return [chunk_file(place / name, array, chunk.block, column) for name, array in arrays]

    def _column(self, chunk: Chunk) -> int:
        return chunk.view - self.parts[chunk.part].views.start

    def _write_rows(self, ids: Sequence[str]) -> None:
        # The workers of a run open the same draft: what is there already and right is not written again under the eyes
        # of the others.
        place_of = {row: self._places[name] for name, part in self.parts.items() for row in part.rows.tolist()}
        kept = [ids[row] for row in sorted(place_of)]
        places = [place_of[row] for row in sorted(place_of)]
        if _has_rows(self._folder, kept, places):
            return
        columns = {"id": pa.array(kept, pa.string())}
        if not is_of_format_1(self._folder):
            columns["part"] = pa.array(places, pa.string())
        with digested(self._folder, self._folder / ROWS) as file:
            pq.write_table(pa.table(columns), file, write_page_checksum=True)

    def _descriptions(self) -> list[Path]:
        """Return the files that say how to read the draft, as far as it says itself which there are."""
        made = {place: made_arrays_of(self._folder, place) for place in self._places.values()}
        names = [name for place, arrays in made.items() for name in descriptions(place, arrays)]
        return [self._folder / name for name in (f"{GROUP}/zarr.json", *names)]

    def _opened(self, layout: Callable[[], Layout]) -> dict[str, dict[str, Any]]:
        """Open the arrays of each part, and make those that are not there.

        Descriptions that a power cut left empty or torn are removed first; opening for writing makes them again.
        """
        scales = [self._folder / GROUP / place / SCALES / "zarr.json" for place in self._places.values()]
        for path in (*self._descriptions(), *scales):
            if path.is_file() and read_json_if_whole(path) is None:
                path.unlink()
        if all(path.is_file() for path in self._descriptions()):
            group = zarr.open_group(self._store, mode="r+")
        else:
            # Where one description is missing all are asked for again: those that are there are kept as they are.
            wanted = layout()
            group = zarr.open_group(self._store, mode="a", attributes=dict(wanted.attributes))
            for name, place in self._places.items():
                make_arrays(_group_of(group, place), self.parts[name], wanted.row_shape, wanted.stored)
        self.attributes = dict(group.attrs)
        found = {
            name: writable(_group_of(group, place), made_arrays_of(self._folder, place))
            for name, place in self._places.items()
        }
        for name, part in self.parts.items():
            # Chunks that are there would be taken for those of other images.
            if (held := found[name]["outputs"].shape[0]) != len(part.rows):
                raise self._of_other_images(held, len(part.rows))
        return found

    def _of_other_images(self, held: int, wanted: int) -> CacheMismatchError:
        kind, name = self._folder.parent.name, self._folder.name[:12]
        return CacheMismatchError(
            f"these {kind} were begun with {held} images where there are now {wanted}: discard what was begun "
            f"('taskdistill discard {kind}@{name}') and run the same again"
        )


def _as_begun(folder: Path, num_images: int, parts: Sequence[Part]) -> list[Part]:
    """Return the parts that a draft was begun with, where an earlier version began it; else the same ones.

    Before parts there were (format 1), all views of all images were shown; later, of images that nobody reads, the
    clean view.
    """
    if is_of_format_1(folder):
        log.info("%s was begun by an earlier version, which shows all views of all images: finished so", folder)
        return [_every_view(folder, num_images, parts)]
    left_out = np.setdiff1d(np.arange(num_images), np.concatenate([part.rows for part in parts]))
    num_clean = sum(len(part.rows) for part in parts if part.name == "clean")
    if not len(left_out) or _num_begun(folder, "clean") != num_clean + len(left_out):
        return list(parts)
    log.info("%s was begun by an earlier version, which shows images that are not read: finished so", folder)
    return [part._replace(rows=np.union1d(part.rows, left_out)) if part.name == "clean" else part for part in parts]


def _num_begun(folder: Path, place: str) -> int:
    """Return how many images a draft says that a part of it is of; 0 where it says nothing."""
    if description := read_json_if_whole(folder / GROUP / place / "outputs" / "zarr.json"):
        return int(description["shape"][0])
    try:
        return read_rows(folder)[1].count(place)
    except CorruptArtifactError:
        return 0


def _every_view(folder: Path, num_rows: int, parts: Sequence[Part]) -> Part:
    """Return the single part of a draft of format 1, by its own description or, where that is torn, as it must be."""
    description = read_json_if_whole(folder / GROUP / "outputs" / "zarr.json")
    num_views = description["shape"][1] if description else max(part.views.stop for part in parts)
    return Part(np.arange(num_rows), range(CLEAN_VIEW, num_views))


def _group_of(group: zarr.Group, place: str) -> zarr.Group:
    return group.require_group(place) if place else group


def _has_rows(folder: Path, ids: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the ids are there and can be read; a power cut may have torn them."""
    try:
        return (folder / ROWS).is_file() and read_rows(folder) == (list(ids), list(parts))
    except CorruptArtifactError:
        return False
