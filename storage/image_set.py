"""Kind image-set: encoded images in Parquet shards, each with label, mask, split, parents and seed.

    shards/00000.parquet ...   rows in id order, image bytes as they came
    cells.parquet              where in them the bytes of each image lie (storage.image_cells); since format 2
    image-set.json             classes, rows of each shard, counts, levels; written last

A row group holds at most 512 KiB of images, or one image if larger, so that other readers of Parquet need not take a
shard whole for one image. Images are not compressed again (JPEG and PNG already are), and both they and every page
carry a checksum that is compared on each read. Original bytes are kept rather than decoded and
re-encoded: nothing is lost, and exact duplicates stay recognisable; orientation, greyscale, CMYK, alpha and 16 bits
are resolved when decoding. How values of more than 8 bits become 8 is a property of the set, never of one image:
`levels` stand in the index of each set that has such images, and of no other.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskdistill.storage.columns import NOTHING_ADDED, Columns
from taskdistill.storage.descriptions import Description
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import write_json
from taskdistill.storage.image_cells import COLUMNS, Cells, write_cells
from taskdistill.storage.image_groups import READ_ERRORS, RowGroups
from taskdistill.storage.manifest import advice, check_layout
from taskdistill.storage.notes import digested

ROW_GROUP_BYTES = 512 * 1024
ROW_GROUP_ROWS = 128
INDEX = "image-set.json"

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.int32()),
        pa.field("mask", pa.binary()),
        pa.field("parents", pa.list_(pa.string())),
        pa.field("seed", pa.int64()),
    ]
)
ADDED = NOTHING_ADDED
"""Columns that came with a later format than the first: name -> which, and the value that older sets mean."""
CELLS_SINCE = 2
"""The format in which a set began to say where the bytes of its images lie."""


class ImageRow(NamedTuple):
    """One image: encoded bytes and all that is known about it. Height and width are those after EXIF orientation."""

    id: str
    image: bytes
    height: int
    width: int
    split: str
    label: int | None = None
    mask: bytes | None = None
    parents: list[str] | None = None
    seed: int | None = None


class Levels(NamedTuple):
    """The values of images of more than 8 bits that become 0 and 255, where the file itself does not say."""

    black: float
    white: float
    white_of_floats: float


class Index(Description):
    """What lies in image-set.json."""

    images: int
    splits: dict[str, int]
    """Split -> number of images."""
    classes: list[str]
    shards: list[int]
    """Rows of each shard."""
    levels: Levels | None = None


def shard_path(folder: Path, shard: int) -> Path:
    return folder / "shards" / f"{shard:05d}.parquet"


def write_shard(folder: Path, shard: int, rows: Iterable[ImageRow]) -> int:
    """Write one shard, all of it or nothing, holding one row group in memory; returns its number of rows."""
    path = shard_path(folder, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    num_rows = 0
    # Images do not repeat, so a dictionary saves nothing, and nobody asks for the smallest and largest of them.
    with (
        digested(folder, path) as file,
        pq.ParquetWriter(
            file, SCHEMA, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
        ) as writer,
    ):
        for group in _row_groups(rows):
            writer.write_table(pa.Table.from_pylist([row._asdict() for row in group], schema=SCHEMA))
            num_rows += len(group)
    return num_rows


def is_shard_whole(folder: Path, shard: int, ids: Sequence[str]) -> bool:
    """Whether a shard is there, holds these images, and each of its pages fits its checksum."""
    found: list[str] = []
    try:
        with pq.ParquetFile(shard_path(folder, shard), page_checksum_verification=True) as file:
            if file.schema_arrow != SCHEMA:
                return False
            for group in range(file.num_row_groups):  # all columns: only what is read is compared with its checksum
                found += file.read_row_group(group, use_threads=False)["id"].to_pylist()
    except READ_ERRORS:
        return False
    return found == list(ids)


def _row_groups(rows: Iterable[ImageRow]) -> Iterator[list[ImageRow]]:
    group: list[ImageRow] = []
    num_bytes = 0
    for row in rows:
        size = len(row.image) + len(row.mask or b"")
        if group and (num_bytes + size > ROW_GROUP_BYTES or len(group) == ROW_GROUP_ROWS):
            yield group
            group, num_bytes = [], 0
        group.append(row)
        num_bytes += size
    if group:
        yield group


def write_index(
    folder: Path, *, classes: Sequence[str], num_shards: int, levels: Levels | None = None
) -> dict[str, Any]:
    """Write the index of a set whose shards are all there; returns its counts for the manifest."""
    sizes, splits = [], Counter[str]()
    for shard in range(num_shards):
        with pq.ParquetFile(shard_path(folder, shard)) as file:
            column = file.read(["split"])["split"].to_pylist()
        sizes.append(len(column))
        splits.update(column)
    counts = {"images": sum(sizes), "splits": dict(sorted(splits.items())), "classes": len(classes)}
    scale = {"levels": levels._asdict()} if levels else {}
    write_cells(folder, [shard_path(folder, shard) for shard in range(num_shards)])
    write_json(folder / INDEX, counts | {"classes": list(classes), "shards": sizes} | scale)
    return counts


def class_names_of(folder: Path) -> list[str]:
    """Return the classes of an image-set without opening its shards; CorruptArtifactError for a damaged index."""
    return _index(folder)[0].classes


def levels_of(folder: Path) -> Levels | None:
    """Return how images of more than 8 bits are scaled in a set, without opening its shards; CorruptArtifactError for a
    damaged index.
    """
    return _index(folder)[0].levels


def _index(folder: Path) -> tuple[Index, int]:
    """Return the index of a set, and its format."""
    found = check_layout(folder, [INDEX])
    return Index.of_format(folder / INDEX, found), found


def _check_order(folder: Path, classes: Sequence[str]) -> None:
    """Raise CorruptArtifactError where classes are the same number, as 1 and 01. Such sets are no longer made; in those
    that are there, the order of the two was drawn by each process anew, and an ingest that was continued mixed them.
    """
    if not all(name.isdecimal() for name in classes):
        return
    digits = ["".join(str(unicodedata.decimal(digit)) for digit in name).lstrip("0") for name in classes]
    times = Counter(digits)
    if same := [name for name, number in zip(classes, digits, strict=True) if times[number] > 1]:
        raise CorruptArtifactError(
            f"{folder} has the classes {', '.join(map(repr, same[:4]))}, which are the same number, and its labels may "
            f"be mixed: {advice(folder)}, after renaming or merging these classes in the dataset"
        )


class ImageSet:
    """A finished image-set, open for reading from any number of threads.

    Everything but the images is held in memory: `ids`, `labels` (int64, -1 where there is none), `splits`, `heights`,
    `widths`, `parents`, `seeds`, one entry a row. `image(row)` reads one image's encoded bytes. `levels` say how values
    of more than 8 bits are scaled; None where no image has more, and in sets older than this field.
    CorruptArtifactError or NewerFormatError where it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        index, self._format = _index(folder)
        self.folder = folder
        self.fingerprint = folder.name
        self.classes = index.classes
        _check_order(folder, self.classes)
        self.levels = index.levels
        self._columns = Columns(SCHEMA, ADDED)
        self._first_rows = np.cumsum([0, *index.shards])
        # Encoded images and masks stay on the disk: the other columns are a few hundred bytes an image.
        table = pa.concat_tables([self._index_of(shard) for shard in range(len(index.shards))])
        if table.num_rows != index.images:
            raise CorruptArtifactError(f"{folder} holds {table.num_rows} of its {index.images} rows: {advice(folder)}")
        self.ids: list[str] = table["id"].to_pylist()
        self.splits: npt.NDArray[np.str_] = np.asarray(table["split"].to_pylist(), dtype=np.str_)
        self.labels: npt.NDArray[np.int64] = table["label"].fill_null(-1).to_numpy().astype(np.int64)
        self.heights: npt.NDArray[np.int32] = table["height"].to_numpy()
        self.widths: npt.NDArray[np.int32] = table["width"].to_numpy()
        self.parents: list[list[str] | None] = table["parents"].to_pylist()
        self.seeds: list[int | None] = table["seed"].to_pylist()
        self._cells = self._reader([shard_path(folder, shard) for shard in range(len(index.shards))])

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls(folder)

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, *splits: str) -> npt.NDArray[np.int64]:
        """Rows of these splits, ascending."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def image(self, row: int) -> bytes:
        """Return the encoded image of a row; reads it and nothing else. CorruptArtifactError for damage."""
        cell = self._cells.read(row, "image")
        if cell is None:
            raise CorruptArtifactError(f"image {self.ids[row]!r} has no bytes: {advice(self.folder)}")
        return cell

    def mask(self, row: int) -> bytes | None:
        """Return the encoded mask of a row, where it has one. CorruptArtifactError for damage."""
        return self._cells.read(row, "mask")

    def _reader(self, shards: Sequence[Path]) -> Cells | RowGroups:
        if self._format < CELLS_SINCE:
            return RowGroups(self._opened, self._damaged, self._first_rows)
        return Cells(self.folder, shards, self._first_rows)

    def _index_of(self, shard: int) -> pa.Table:
        try:
            with self._opened(shard) as file:
                names = [name for name in SCHEMA.names if name not in COLUMNS]
                # Names that an older format does not have are passed over, and filled in here.
                return self._columns.completed(file.read(columns=names, use_threads=False), self._format, names)
        except READ_ERRORS as error:
            raise self._damaged(shard, error) from error

    def _opened(self, shard: int) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(shard_path(self.folder, shard), page_checksum_verification=True)
            found = file.schema_arrow
        except READ_ERRORS as error:
            raise self._damaged(shard, error) from error
        if found != self._columns.in_format(self._format):
            raise self._damaged(shard, TypeError(f"its columns are {', '.join(map(str, found))}"))
        return file

    def _damaged(self, shard: int, error: Exception) -> CorruptArtifactError:
        if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
            raise error  # the system's, such as too many open files: no fault of the bytes
        return CorruptArtifactError(f"{shard_path(self.folder, shard)} is damaged ({error}): {advice(self.folder)}")
