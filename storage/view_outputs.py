"""Kinds features and logits: what a frozen network said about every view of every image, in Zarr.

    outputs.zarr/outputs      [N, V, ...] float16   features [N, V, R, D] or logits [N, V, K]
    outputs.zarr/views        [N, V, 9]   float32   how each view was cut (tasks.functional.views.VIEW_FIELDS)
    outputs.zarr/thumbnails   [N, V, 64]  uint8     8x8 grey picture of the view that was shown: the proof
    rows.parquet              image id of each row

View 0 is the clean one. A chunk is S rows of one view; it is the unit of writing, resuming, checking and reading.
Zarr writes a chunk to a temporary name and renames it, and `outputs` is written after the other two, so its chunks say
what is done: whatever kills a process, a chunk that exists is whole. Zarr does not wait for the disk, so after a power
cut chunks exist that are empty or torn. They are put on the disk every few seconds, a commit waits for all of them, and
whoever continues a draft reads each of its chunks back once and removes those that do not fit their checksum.
Chunks are not compressed (fp16 logits shrink by 9 % for reads 2-3
times slower) and carry a CRC-32C. Whole chunks are read, never single rows: a zarr call costs 0.2-0.4 ms for each
chunk it touches.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from storage.errors import CacheMismatchError, CorruptArtifactError, NotFiniteError
from storage.files import BatchedSync, atomic, read_json_if_whole
from storage.formats import Added, completed
from storage.manifest import advice, check_layout
from storage.proof import is_chunk_whole

GROUP = "outputs.zarr"
ARRAYS = ("outputs", "views", "thumbnails")
ROWS = "rows.parquet"
CHUNK_BYTES = 4 * 1024 * 1024
NUM_VIEW_FIELDS = 9
THUMBNAIL_PIXELS = 64
ADDED: dict[str, Mapping[str, Added]] = {}
"""Kind -> its attributes that came with a later format than the first."""

Half = npt.NDArray[np.float16]


class Chunk(NamedTuple):
    """One unit of work: rows `start` to `stop` of one view."""

    block: int
    view: int
    start: int
    stop: int


def rows_per_chunk(num_rows: int, row_shape: Sequence[int]) -> int:
    """S: about 4 MiB of float16, between 256 and 4096 rows and a power of two; small sets get at least 4 chunks a
    view.

    It depends on the shape of the artifact alone, so that no setting of speed can change the files.
    """
    fitting = CHUNK_BYTES // (2 * math.prod(row_shape))
    wanted = min(max(fitting, 256), 4096, max(num_rows // 4, 64))
    return min(1 << (wanted.bit_length() - 1), max(num_rows, 1))


class ViewOutputsWriter:
    """Fills an artifact chunk by chunk, in any order; opening an earlier draft continues it.

    `attributes` are the proof of what the outputs belong to: fingerprints of images, encoder and views, and class
    names.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ids: Sequence[str],
        num_views: int,
        row_shape: Sequence[int],
        attributes: Mapping[str, Any],
    ) -> None:
        self.num_rows, self.num_views = len(ids), num_views
        self.rows_per_chunk = rows_per_chunk(len(ids), row_shape)
        if not _has_rows(folder, ids):
            with atomic(folder / ROWS) as partial:
                pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), partial, write_page_checksum=True)
        _remove_torn_layout(folder / GROUP)
        group = zarr.open_group(folder / GROUP, mode="a", attributes=dict(attributes))
        self._outputs = self._array(group, "outputs", row_shape, "float16", math.nan)
        self._views = self._array(group, "views", (NUM_VIEW_FIELDS,), "float32", math.nan)
        self._thumbnails = self._array(group, "thumbnails", (THUMBNAIL_PIXELS,), "uint8", 0)
        self._folder = folder / GROUP
        self._synced = BatchedSync(folder)
        self._synced.add(self._folder / "zarr.json", *(self._folder / name / "zarr.json" for name in ARRAYS))

    def _array(self, group: zarr.Group, name: str, row_shape: Sequence[int], dtype: str, fill: float) -> Any:
        if name in group:  # what is not written where all is fill value would be missing for ever
            return cast(Any, group[name]).with_config({"write_empty_chunks": True})
        return group.create_array(
            name,
            shape=(self.num_rows, self.num_views, *row_shape),
            chunks=(self.rows_per_chunk, 1, *row_shape),
            dtype=dtype,
            serializer=BytesCodec(endian="little"),
            compressors=[Crc32cCodec()],
            fill_value=fill,
            config={"write_empty_chunks": True},
        )

    def chunks(self) -> list[Chunk]:
        """Every chunk, views of the same rows together."""
        starts = range(0, self.num_rows, self.rows_per_chunk)
        return [
            Chunk(block, view, start, min(start + self.rows_per_chunk, self.num_rows))
            for block, start in enumerate(starts)
            for view in range(self.num_views)
        ]

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
            self._files(chunk)[-1].unlink()
        return damaged

    def _files(self, chunk: Chunk) -> list[Path]:
        """Return the files of a chunk in the order in which they are written."""
        arrays = {"views": self._views, "thumbnails": self._thumbnails, "outputs": self._outputs}
        return [_chunk_file(self._folder / name, array, chunk) for name, array in arrays.items()]

    def write(
        self, chunk: Chunk, outputs: Half, views: npt.NDArray[np.float32], thumbnails: npt.NDArray[np.uint8]
    ) -> None:
        """Store one whole chunk: outputs [n, ...], views [n, 9], thumbnails [n, 64]; NotFiniteError where float16
        cannot hold them.
        """
        if not np.isfinite(outputs).all():
            raise NotFiniteError(
                f"the network's outputs for rows {chunk.start} to {chunk.stop}, view {chunk.view} are not finite in "
                "float16: its weights, its normalisation (mean, std) or its precision are wrong"
            )
        rows = slice(chunk.start, chunk.stop)
        self._views[rows, chunk.view] = views
        self._thumbnails[rows, chunk.view] = thumbnails
        self._outputs[rows, chunk.view] = outputs
        self._synced.add(*self._files(chunk))


class ViewOutputs:
    """A finished features or logits artifact."""

    def __init__(self, folder: Path) -> None:
        found = check_layout(folder, [ROWS, f"{GROUP}/zarr.json", *(f"{GROUP}/{name}/zarr.json" for name in ARRAYS)])
        group = zarr.open_group(folder / GROUP, mode="r")
        self.folder = folder
        self.attributes: dict[str, Any] = completed(dict(group.attrs), ADDED.get(folder.parent.name, {}), found)
        self.ids: list[str] = _ids(folder)
        self._arrays = {name: cast(Any, group[name]) for name in ARRAYS}
        self.shape: tuple[int, ...] = self._arrays["outputs"].shape
        self.rows_per_chunk: int = self._arrays["outputs"].chunks[0]

    @property
    def num_views(self) -> int:
        return self.shape[1]

    def view(self, view: int) -> Half:
        """Return the outputs [N, ...] of one view, reading each of its chunks once."""
        return cast(Half, self._read("outputs", slice(0, self.shape[0]), view))

    def rows(self, start: int, stop: int, view: int) -> Half:
        """Return the outputs [stop - start, ...] of some rows of a view."""
        return cast(Half, self._read("outputs", slice(start, stop), view))

    def view_fields(self, start: int, stop: int, view: int) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], self._read("views", slice(start, stop), view))

    def thumbnails(self, start: int, stop: int, view: int) -> npt.NDArray[np.uint8]:
        return cast(npt.NDArray[np.uint8], self._read("thumbnails", slice(start, stop), view))

    def _read(self, name: str, rows: slice, view: int) -> npt.NDArray[Any]:
        array = self._arrays[name]
        for block in range(rows.start // self.rows_per_chunk, math.ceil(rows.stop / self.rows_per_chunk)):
            path = _chunk_file(self.folder / GROUP / name, array, Chunk(block, view, 0, 0))
            if not path.is_file():  # zarr would read it as a chunk of fill values
                raise CorruptArtifactError(f"{path} is missing: {advice(self.folder)}")
        try:
            return np.asarray(array[rows, view])
        except ValueError as error:  # the CRC-32C codec, or a short file
            raise CorruptArtifactError(
                f"a chunk of {self.folder / GROUP / name}, view {view}, is damaged ({error}): {advice(self.folder)}"
            ) from error

    def require(self, **expected: Any) -> None:
        """Raise CacheMismatchError naming every attribute, such as images or views, that is not as expected."""
        wrong = [
            f"{name}: these are of {_brief(self.attributes.get(name))}, {_brief(value)} was asked for"
            for name, value in expected.items()
            if self.attributes.get(name) != value
        ]
        if wrong:
            raise CacheMismatchError(
                f"the cached outputs {self.folder.parent.name}@{self.folder.name[:12]} do not fit. {'; '.join(wrong)}. "
                "Run the stage that makes them with the present settings, or pass the artifact that fits"
            )


def rows_by_id(cached_ids: Sequence[str], wanted_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the cache row of each wanted image: caches are joined by image id, never by position."""
    position = {image_id: row for row, image_id in enumerate(cached_ids)}
    missing = [image_id for image_id in wanted_ids if image_id not in position]
    if missing:
        raise CacheMismatchError(
            f"{len(missing)} images have no cached outputs, the first is {missing[0]!r}: run the stage that shows them "
            "to the network (extract, embed)"
        )
    return np.fromiter((position[image_id] for image_id in wanted_ids), np.int64, len(wanted_ids))


def _ids(folder: Path) -> list[str]:
    try:
        ids: list[str] = pq.read_table(folder / ROWS, page_checksum_verification=True)["id"].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise CorruptArtifactError(f"{folder / ROWS} is damaged ({error}): {advice(folder)}") from error
    return ids


def _has_rows(folder: Path, ids: Sequence[str]) -> bool:
    """Whether the ids are there and can be read; a power cut may have torn them."""
    try:
        return (folder / ROWS).is_file() and _ids(folder) == list(ids)
    except CorruptArtifactError:
        return False


def _remove_torn_layout(group: Path) -> None:
    """Remove the descriptions that a power cut left empty or torn; opening the group for writing makes them again."""
    for description in (group / "zarr.json", *(group / name / "zarr.json" for name in ARRAYS)):
        if description.is_file() and read_json_if_whole(description) is None:
            description.unlink()


def _chunk_file(folder: Path, array: Any, chunk: Chunk) -> Path:
    rest = (0,) * (len(array.shape) - 2)
    return folder / str(array.metadata.encode_chunk_key((chunk.block, chunk.view, *rest)))


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
