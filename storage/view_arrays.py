"""The arrays of features, embeddings and logits, as they are made: their shapes, types and chunks (storage.view_outputs
says what lies where).

Shape letters: n v images and views of a part, S rows of a chunk.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from taskdistill.configs.stages import StoredLogits
from taskdistill.storage.shown_views import NUM_VIEW_FIELDS, SHOWN, SHOWN_BYTES, THUMBNAIL_PIXELS
from taskdistill.storage.view_outputs import SCALES, Part

CHUNK_BYTES = 4 * 1024 * 1024
CHUNK_BYTES_OF_MANY_ROWS = 8 * 1024 * 1024
MANY_CHUNKS = 128
"""Of a view: from here on files are too many rather than too large."""
MAX_CHUNK_BYTES = 24 * 1024 * 1024


def rows_per_chunk(num_rows: int, row_shape: Sequence[int], bytes_of_number: int = 2) -> int:
    """S: about 4 MiB, between 256 and 4096 rows and a power of two; small parts get at least 4 chunks a view. Where
    that is more than 128 chunks a view, twice as many rows, as often as they fit in 8 MiB. Where 256 rows are more than
    24 MiB, as of maps, as many as fit in that: 12 to 24 MiB, or one row that is larger.

    It depends on the shape of the part and the type of its numbers alone, so that no setting of speed can change the
    files.
    """
    # Large outputs fit in few rows, but thousands of small files are slow; of a small part a quarter, so that there is
    # something to resume and to hand to several workers.
    row_bytes = bytes_of_number * math.prod(row_shape)
    wanted = min(max(CHUNK_BYTES // row_bytes, 256), 4096, max(num_rows // 4, 64))
    # A chunk is what a kill costs and what is in memory while it is made: of maps 256 rows may be gigabytes.
    wanted = max(min(wanted, MAX_CHUNK_BYTES // row_bytes), 1)
    found = 1 << (wanted.bit_length() - 1)
    while num_rows > MANY_CHUNKS * found and 2 * found * row_bytes <= CHUNK_BYTES_OF_MANY_ROWS:
        found *= 2
    return min(found, max(num_rows, 1))


def gathered_rows_per_chunk(num_rows: int, num_views: int) -> int:
    """How many rows of "shown" a chunk has, in all views: 2 to 4 MiB, and a power of two."""
    wanted = max(CHUNK_BYTES // (num_views * SHOWN_BYTES), 1)
    return min(1 << (wanted.bit_length() - 1), num_rows)


def make_arrays(group: zarr.Group, part: Part, row_shape: Sequence[int], stored: StoredLogits) -> None:
    """Make those arrays of a part that are not in its group."""
    # Name -> shape of what is held of one view of one image, type, value where nothing was written.
    forms: dict[str, tuple[Sequence[int], str, float]] = {
        "outputs": (row_shape, "float16", math.nan),
        "views": ((NUM_VIEW_FIELDS,), "float32", math.nan),
        "thumbnails": ((THUMBNAIL_PIXELS,), "uint8", 0),
    }
    if stored == "int8":
        forms |= {"outputs": (row_shape, "int8", 0), SCALES: ((2,), "float32", math.nan)}
    # All arrays of a part have chunks of the same rows: those of an earlier version too, which had another rule.
    there = [cast(Any, group[name]).chunks[0] for name in forms if name in group]
    num_rows = there[0] if there else rows_per_chunk(len(part.rows), row_shape, np.dtype(forms["outputs"][1]).itemsize)
    for name, (shape, dtype, fill) in forms.items():
        if name not in group:
            # One view a chunk, as readers want one view at a time; one byte order, so that every machine writes the
            # same bytes; and a checksum where others compress.
            group.create_array(
                name,
                shape=(len(part.rows), len(part.views), *shape),
                chunks=(num_rows, 1, *shape),
                dtype=dtype,
                serializer=BytesCodec(endian="little"),
                compressors=[Crc32cCodec()],
                fill_value=fill,
            )


def gather(group: zarr.Group, part: Part) -> Any:
    """Put views and thumbnails of a part, of which each chunk of outputs has files of its own as long as outputs are
    made, together in "shown", for all views and many rows a file; returns that array.

    What an earlier attempt left of it is written anew.
    """
    views, thumbnails = (cast(Any, group[name]) for name in ("views", "thumbnails"))
    num_rows, num_views = len(part.rows), len(part.views)
    chunk_rows = gathered_rows_per_chunk(num_rows, num_views)
    shown = cast(Any, group.create_array(
        SHOWN, shape=(num_rows, num_views, SHOWN_BYTES), chunks=(chunk_rows, num_views, SHOWN_BYTES), dtype="uint8",
        compressors=[Crc32cCodec()], fill_value=0, overwrite=True, config={"write_empty_chunks": True},
    ))  # fmt: skip
    # Whole chunks of either side: both have a power of two of rows, or all.
    step = max(chunk_rows, int(views.chunks[0]))
    for start in range(0, num_rows, step):
        rows = slice(start, min(start + step, num_rows))
        fields_nvf = np.ascontiguousarray(views[rows], "<f4").view(np.uint8)
        shown[rows] = np.concatenate([fields_nvf, thumbnails[rows]], axis=-1)
    return shown


def writable(group: zarr.Group, names: Sequence[str]) -> dict[str, Any]:
    """Return these arrays of a part, "outputs" last, as its chunks say what is done."""
    ordered = sorted(names, key=lambda name: name == "outputs")
    # Without this setting zarr leaves out a chunk that is all fill value, and it would be missing for ever.
    return {name: cast(Any, group[name]).with_config({"write_empty_chunks": True}) for name in ordered}
