"""Kinds features, embeddings and logits: the outputs of a frozen network for views of images, in Zarr.

    rows.parquet                   id of each image, and the part that holds it
    outputs.zarr/PART/outputs      [n, v, ...] float16   features [n, v, R, D], embeddings [n, 1, D] or logits [n, v, K]
                                                         or [n, v, K, h, w]; logits also int8, where there are scales
    outputs.zarr/PART/scales       [n, v, 2]   float32   scale and offset of each row of int8 (storage.int8_rows)
    outputs.zarr/PART/shown        [n, v, 100] uint8     of each view that was shown:
                                       9 float32         how it was cut (tasks.functional.views.VIEW_FIELDS)
                                      64 uint8           8x8 grey picture of it: the proof

An image is shown those of its views that something reads. Images that are shown the same ones are a part: "clean" has
the clean view alone, "augmented" the views from 1 on, "all" both. So no place is kept for what is not there. In format
1, which is read and finished (storage.view_writer) but no longer begun, all views of all images were shown, and the
arrays lie in the group itself; it is recognised by that. In place of "shown" older artifacts, and all while they are
made, have "views" and "thumbnails", with as many small files each as outputs have large ones.

A chunk is S rows of one view, of "shown" other rows of all views, not compressed (fp16 logits shrink by 9 % for reads
2-3 times slower), with a CRC-32C. Zarr reads whole chunks, never single rows, and a call costs 0.2-0.4 ms for each
chunk it touches: of outputs that are too many to hold a view of them, `take` reads single rows past it
(storage.chunk_rows).

Shape letters: N images, V views, n v those of one part, R blocks, D width, K classes, h w cells of a map, S rows of a
chunk.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.storage.chunk_rows import ChunkRows
from taskdistill.storage.errors import CacheMismatchError, CorruptArtifactError
from taskdistill.storage.files import read_json_if_whole
from taskdistill.storage.formats import Added, completed
from taskdistill.storage.int8_rows import restored
from taskdistill.storage.manifest import advice, check_layout
from taskdistill.storage.shown_views import SHOWN, ShownViews, stored_rows

GROUP = "outputs.zarr"
ARRAYS = ("outputs", "views", "thumbnails")
SCALES = "scales"
ROWS = "rows.parquet"
PARTS = ("clean", "augmented", "all")
ADDED: dict[str, Mapping[str, Added]] = {}
"""Kind -> its attributes that came with a later format than the first."""

Half = npt.NDArray[np.float16]


class Part(NamedTuple):
    """Images that are shown the same views: their rows among all N, ascending, and the numbers of the views."""

    rows: npt.NDArray[np.int64]
    views: range

    @property
    def name(self) -> str:
        if CLEAN_VIEW not in self.views:
            return "augmented"
        return "clean" if len(self.views) == 1 else "all"

    @property
    def num_shown(self) -> int:
        """How many images a network is shown for this part: each of its images in each of its views."""
        return len(self.rows) * len(self.views)


class ViewOutputs:
    """A finished artifact of these kinds. `num_views` is V, the clean view included; `row_shape` that of one output.

    Rows of a view are those images that were shown it, in the order of `ids_of`; `rows_of` finds them by image id.
    CorruptArtifactError or NewerFormatError where it cannot be opened, or where a chunk that is read is damaged.
    """

    def __init__(self, folder: Path) -> None:
        places = [""] if is_of_format_1(folder) else [name for name in PARTS if (folder / GROUP / name).is_dir()]
        described = [name for place in places for name in descriptions(place, arrays_of(folder, place))]
        found = check_layout(folder, [ROWS, f"{GROUP}/zarr.json", *described])
        group = zarr.open_group(folder / GROUP, mode="r")
        self.folder = folder
        self.attributes: dict[str, Any] = completed(dict(group.attrs), ADDED.get(folder.parent.name, {}), found)
        self.ids, parts = read_rows(folder)
        # A folder may have been copied in part: zarr would open what is there and know nothing of the rest.
        if sorted(set(parts)) != sorted(places):
            raise CorruptArtifactError(f"{folder / GROUP} lacks parts that {ROWS} names: {advice(folder)}")
        self._stored = [_StoredPart(folder, place, np.asarray(parts) == place, group) for place in places]
        self.row_shape: tuple[int, ...] = self._stored[0].row_shape
        self.num_views = max(stored.part.views.stop for stored in self._stored)

    @property
    def parts(self) -> list[Part]:
        return [stored.part for stored in self._stored]

    def ids_of(self, view: int) -> list[str]:
        """Return the ids of the images that were shown a view."""
        return [self.ids[row] for row in self._rows_with(view)]

    def rows_of(self, ids: Sequence[str], view: int) -> npt.NDArray[np.int64]:
        """Return the row of each of these images in a view; CacheMismatchError where one was not shown it."""
        return self.rows_at(rows_by_id(self.ids, ids), view)

    def rows_at(self, images: npt.NDArray[np.int64], view: int) -> npt.NDArray[np.int64]:
        """Do the same for images given by their places in `ids`; CacheMismatchError where one was not shown it."""
        # -1 is "not shown". As an index numpy would take it for the last row, so none may be left.
        row_of_image_N = np.full(len(self.ids), -1, np.int64)
        shown = self._rows_with(view)
        row_of_image_N[shown] = np.arange(len(shown))
        rows = row_of_image_N[images]
        if (rows < 0).any():
            raise self._not_shown(images[rows < 0], view)
        return rows

    def chunks_of(self, view: int) -> list[range]:
        """Return the rows of a view that lie in each of its chunks, in order: read so, each is read once."""
        sizes = [size for stored in self._stored if view in stored.part.views for size in stored.chunk_sizes]
        return [range(stop - size, stop) for size, stop in zip(sizes, itertools.accumulate(sizes), strict=True)]

    def view(self, view: int) -> Half:
        """Return the outputs [n, ...] of one view, reading each of its chunks once."""
        return self.rows(0, len(self._rows_with(view)), view)

    def rows(self, start: int, stop: int, view: int) -> Half:
        """Return the outputs [stop - start, ...] of some rows of a view."""
        return cast(Half, self._read("outputs", start, stop, view))

    def take(self, rows_N: npt.NDArray[np.int64], view: int) -> Half:
        """Return the outputs [N, ...] of these rows of a view, in the order asked for, reading no others.

        Worth it where a row is many numbers; of small ones a whole chunk is read as fast as a row.
        """
        found, before = np.empty((len(rows_N), *self.row_shape), np.float16), 0
        for stored in self._stored:
            if view not in stored.part.views:
                continue
            size = len(stored.part.rows)
            is_in_part_N = (rows_N >= before) & (rows_N < before + size)
            if is_in_part_N.all():  # most often: nothing is copied then
                return stored.take(rows_N - before, view)
            found[is_in_part_N] = stored.take(rows_N[is_in_part_N] - before, view)
            before += size
        return found

    def view_fields(self, start: int, stop: int, view: int) -> npt.NDArray[np.float32]:
        """Return how some rows of a view were cut, [stop - start, 9]."""
        return cast(npt.NDArray[np.float32], self._read("views", start, stop, view))

    def thumbnails(self, start: int, stop: int, view: int) -> npt.NDArray[np.uint8]:
        """Return the thumbnails [stop - start, 64] of some rows of a view."""
        return cast(npt.NDArray[np.uint8], self._read("thumbnails", start, stop, view))

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

    def _rows_with(self, view: int) -> npt.NDArray[np.int64]:
        """Return which of all images were shown a view: those of one part after those of another."""
        rows = [stored.part.rows for stored in self._stored if view in stored.part.views]
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def _read(self, array: str, start: int, stop: int, view: int) -> npt.NDArray[Any]:
        # The rows of a view run through its parts one after the other: `before` is where the rows of a part begin among
        # them, and what is asked for may begin in one part and end in the next.
        found, before = [], 0
        for stored in self._stored:
            if view not in stored.part.views:
                continue
            size = len(stored.part.rows)
            first, last = max(start - before, 0), min(stop - before, size)
            if first < last:
                found.append(stored.read(array, first, last, view))
            before += size
        return np.concatenate(found) if len(found) != 1 else found[0]  # most often one: nothing is copied then

    def _not_shown(self, images: npt.NDArray[np.int64], view: int) -> CacheMismatchError:
        part = next(part for part in self.parts if images[0] in part.rows)
        held = {"clean": "the clean view", "augmented": "the augmented views"}.get(part.name, f"views {part.views}")
        asked = "the clean view" if view == CLEAN_VIEW else f"augmented view {view}"
        others = f" and of {len(images) - 1} other images" if len(images) > 1 else ""
        return CacheMismatchError(
            f"these {self.folder.parent.name} hold only {held} of {self.ids[images[0]]!r}{others}, and {asked} was "
            "asked for. A network is shown the views that the pipeline reads: of training images the augmented ones, "
            "of all others the clean one. Set train_views of the stage that shows the images (extract, "
            "precompute-images) to 'both', as an experiment does where probe.train_on asks for it, or views.num_views "
            "to at least 1"
        )


class _StoredPart:
    """The arrays of one part, open for reading."""

    def __init__(self, folder: Path, place: str, is_in_part_N: npt.NDArray[np.bool_], group: zarr.Group) -> None:
        self._folder, self._place = folder, folder / GROUP / place
        arrays = cast(Any, group[place] if place else group)
        self._arrays = {name: arrays[name] for name in arrays_of(folder, place)}
        shape = self._arrays["outputs"].shape
        # How many views a part has is the shape of its arrays; which one is its first, only its name says.
        first = CLEAN_VIEW + 1 if place == "augmented" else CLEAN_VIEW
        self.part = Part(np.flatnonzero(is_in_part_N), range(first, first + shape[1]))
        self.row_shape: tuple[int, ...] = shape[2:]
        shown = self._arrays.get(SHOWN)
        self._shown = ShownViews(folder, self._place / SHOWN, shown) if shown is not None else None
        self._rows = {name: ChunkRows(folder, self._place / name, array) for name, array in self._arrays.items()}

    @property
    def chunk_sizes(self) -> list[int]:
        """How many rows lie in each chunk of a view."""
        num_rows, of_chunk = len(self.part.rows), int(self._arrays["outputs"].chunks[0])
        return [min(of_chunk, num_rows - start) for start in range(0, num_rows, of_chunk)]

    def take(self, rows_N: npt.NDArray[np.int64], view: int) -> Half:
        column = view - self.part.views.start
        outputs = self._rows["outputs"].take(rows_N, column)
        return restored(outputs, self._rows[SCALES].take(rows_N, column)) if SCALES in self._rows else outputs

    def read(self, name: str, start: int, stop: int, view: int) -> npt.NDArray[Any]:
        if self._shown and name in ("views", "thumbnails"):
            read = self._shown.fields if name == "views" else self._shown.thumbnails
            return read(start, stop, view - self.part.views.start)
        found = self._as_stored(name, start, stop, view)
        if name != "outputs" or SCALES not in self._arrays:
            return found
        return restored(found, self._as_stored(SCALES, start, stop, view))

    def _as_stored(self, name: str, start: int, stop: int, view: int) -> npt.NDArray[Any]:
        column, place = view - self.part.views.start, self._place / name
        return stored_rows(self._folder, place, self._arrays[name], slice(start, stop), slice(column, column + 1))[:, 0]


def rows_by_id(cached_ids: Sequence[str], wanted_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the place of each wanted image among the cached ones: caches are joined by image id, never by position;
    CacheMismatchError where one has none.
    """
    position = {image_id: row for row, image_id in enumerate(cached_ids)}
    missing = [image_id for image_id in wanted_ids if image_id not in position]
    if missing:
        raise CacheMismatchError(
            f"no cached outputs of {len(missing)} of {len(wanted_ids)} images, the first is {missing[0]!r}: run the "
            "stage that shows them to the network"
        )
    return np.fromiter((position[image_id] for image_id in wanted_ids), np.int64, len(wanted_ids))


def arrays_of(folder: Path, place: str) -> tuple[str, ...]:
    """Return the names of the arrays of a part; `place` is "" in format 1."""
    made = made_arrays_of(folder, place)
    is_gathered = not (folder / GROUP / place / "views").is_dir() and (folder / GROUP / place / SHOWN).is_dir()
    return ("outputs", SHOWN, *made[len(ARRAYS) :]) if is_gathered else made


def made_arrays_of(folder: Path, place: str) -> tuple[str, ...]:
    """Return the names of the arrays that a part has as long as it is made, as the description of its outputs says."""
    outputs = read_json_if_whole(folder / GROUP / place / "outputs" / "zarr.json")
    return (*ARRAYS, SCALES) if outputs and outputs["data_type"] == "int8" else ARRAYS


def is_of_format_1(folder: Path) -> bool:
    """Whether what lies here has the layout of format 1: the arrays of all views of all images, in no part."""
    return (folder / GROUP / "outputs").is_dir()


def descriptions(place: str, arrays: Sequence[str]) -> list[str]:
    """Return the names of the files that describe a part and these arrays of it; `place` is "" in format 1."""
    if not place:
        return [f"{GROUP}/{name}/zarr.json" for name in arrays]
    return [f"{GROUP}/{place}/zarr.json", *(f"{GROUP}/{place}/{name}/zarr.json" for name in arrays)]


def read_rows(folder: Path) -> tuple[list[str], list[str]]:
    """Return the id of each image and the part it is in, "" in format 1; CorruptArtifactError where they cannot be
    read.
    """
    try:
        with pq.ParquetFile(folder / ROWS, page_checksum_verification=True) as file:
            table = file.read()
        ids: list[str] = table["id"].to_pylist()
        parts: list[str] = table["part"].to_pylist() if "part" in table.column_names else [""] * len(ids)
    except (OSError, pa.ArrowException, LookupError) as error:
        raise CorruptArtifactError(f"{folder / ROWS} is damaged ({error}): {advice(folder)}") from error
    return ids, parts


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
