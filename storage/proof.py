"""What files prove about their own bytes, without a record of them: the checksums and lengths inside their formats.

A Zarr chunk ends with a CRC-32C of all before it, a Parquet page carries a CRC-32, as does each part of a PNG, a
safetensors header gives the length of the file, JSON comes to an end. Files that a power cut left empty, cut short or
filled with zeros fail.
"""

import json
import os
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors import SafetensorError, safe_open

CHUNKS = "c"
"""The folder in which Zarr keeps the chunks of an array."""
CRC_BYTES = 4
_PIECE_BYTES = 1024 * 1024


def damage_of(path: Path) -> str:
    """Return what is wrong with a file of an artifact, "" where its format proves nothing against it."""
    if path.stat().st_size == 0:
        return "it is empty"
    if _is_chunk(path):
        return "" if is_chunk_whole(path) else "its CRC-32C is not that of its bytes"
    # Of other files, such as pages in HTML, the format proves nothing: their digests are in the manifest.
    checks = {".parquet": _parquet, ".safetensors": _safetensors, ".json": _json, ".png": _png}
    return checks[path.suffix](path) if path.suffix in checks else ""


def _is_chunk(path: Path) -> bool:
    """Whether a file lies in the folder of chunks beside an array's description."""
    return CHUNKS in path.parts and (path.parents[path.parts[::-1].index(CHUNKS)] / "zarr.json").is_file()


def is_chunk_whole(path: Path) -> bool:
    """Whether there is a Zarr chunk, and the checksum at its end is that of its bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        left, checksum = os.fstat(file.fileno()).st_size - CRC_BYTES, 0
        is_empty = left <= 0
        # In pieces: a chunk of large outputs would be in memory twice.
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            checksum, left = google_crc32c.extend(checksum, piece), left - len(piece)
        return not is_empty and left == 0 and checksum == int.from_bytes(file.read(), "little")


def _parquet(path: Path) -> str:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
    except (OSError, pa.ArrowException, LookupError, UnicodeDecodeError) as error:
        return f"it cannot be read ({error})"
    return ""


def _safetensors(path: Path) -> str:
    try:
        with safe_open(path, "np"):
            return ""
    except SafetensorError as error:
        return f"its header does not fit it ({error})"


def _json(path: Path) -> str:
    try:
        json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return f"it is no JSON ({error})"
    return ""


def _png(path: Path) -> str:
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError) as error:
        return f"it is no whole picture ({error})"
    return ""
