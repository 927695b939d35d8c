"""What the files of an artifact say about each other: an array about its chunks, an image-set about its shards.

A manifest names the files that were committed. What was lost before, or was never written, only its neighbours know
of; storage.proof says what a file proves about its own bytes.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import read_json
from taskdistill.storage.image_cells import CELLS
from taskdistill.storage.image_set import INDEX, shard_path
from taskdistill.storage.view_outputs import GROUP, ROWS, arrays_of, read_rows

_DAMAGE = (OSError, ValueError, LookupError, TypeError, pa.ArrowException)
"""What reading a damaged file raises; the file itself is named by storage.proof."""


class Gap(NamedTuple):
    """A file that is missing, or does not fit what another says of it."""

    name: str
    problem: str


def gaps(folder: Path, names: Collection[str]) -> Iterator[Gap]:
    """Compare these files of an artifact, by their paths in it, with what there should be beside them."""
    for name in names:
        if Path(name).name == "zarr.json":
            yield from _missing_chunks(folder, Path(name).parent)
    if INDEX in names:
        yield from _missing_rows(folder)
    if ROWS in names:
        yield from _rows_without_outputs(folder)


def _missing_chunks(folder: Path, array_name: Path) -> Iterator[Gap]:
    """Look for every chunk that an array's shape asks for; zarr would read a missing one as fill values."""
    try:
        array = zarr.open(folder / array_name, mode="r")
    except _DAMAGE:
        return
    if isinstance(array, zarr.Array):
        for block in itertools.product(*map(range, array.cdata_shape)):
            name = (array_name / array.metadata.encode_chunk_key(block)).as_posix()
            if not (folder / name).is_file():
                yield Gap(name, "is missing: its array says that it must be there")


def _missing_rows(folder: Path) -> Iterator[Gap]:
    """Compare the shards of an image-set, and the table of where its images lie, with its index."""
    try:
        shards = list(enumerate(read_json(folder / INDEX)["shards"]))
    except _DAMAGE as error:
        yield Gap(INDEX, f"does not say how many rows each shard has ({error})")
        return
    for number, num_rows in shards:
        path = shard_path(folder, number)
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            yield Gap(name, f"is missing: {INDEX} says that it must be there")
        elif (found := _num_rows(path)) not in (num_rows, None):
            yield Gap(name, f"has {found} rows, {INDEX} says {num_rows}")
    num_images = sum(num_rows for _, num_rows in shards)
    if (folder / CELLS).is_file() and (found := _num_rows(folder / CELLS)) not in (num_images, None):
        yield Gap(CELLS, f"is of {found} images, {INDEX} says {num_images}")


def _rows_without_outputs(folder: Path) -> Iterator[Gap]:
    """Compare how many images the ids say are in each part with how many its outputs are of."""
    try:
        named = Counter(read_rows(folder)[1])
    except CorruptArtifactError:
        return
    for place, found in named.items():
        name = Path(GROUP, place, "outputs").as_posix()
        if not (folder / name).is_dir():
            yield Gap(f"{name}/zarr.json", f"is missing: {ROWS} says that it must be there")
            continue
        for other in arrays_of(folder, place):
            if not (folder / GROUP / place / other).is_dir():
                yield Gap(Path(GROUP, place, other, "zarr.json").as_posix(), f"is missing: {name} needs it")
        try:
            num_rows = zarr.open_array(folder / name, mode="r").shape[0]
        except _DAMAGE:
            continue
        if found != num_rows:
            yield Gap(ROWS, f"names {found} images of {name}, which are {num_rows}")


def _num_rows(parquet: Path) -> int | None:
    try:
        return int(pq.read_metadata(parquet).num_rows)
    except _DAMAGE:
        return None
