"""A user's image files: their bytes, whether they can be decoded within limits, and the digest of their folder."""

from collections.abc import Mapping
from pathlib import Path

from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.storage.sources import content_digest, tree_digest, visible_files
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.brightness import PixelStatistics, look_at
from taskdistill.tasks.data.decode import header_size
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.opening import UnreadableImageError


def bytes_of(path: Path) -> bytes:
    """Return the content of a user's file; SourceError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def look_within(
    data: bytes, limits: IngestConfig | UnlabelledConfig, memory: DecodeMemory, *, section: str
) -> tuple[tuple[int, int], PixelStatistics]:
    """Decode an image once; returns its upright height and width, and what its values are.

    Raises UnreadableImageError where it is larger than the limits, which are settings of `section`, or cannot be
    decoded, and DecodeMemoryError as `look_at` does.
    """
    width, height = header_size(data)
    if max(height, width) > limits.max_side_px or height * width > limits.max_megapixels * 1e6:
        raise UnreadableImageError(
            f"{width}x{height} pixels; the limits are {limits.max_side_px} a side ({section}.max_side_px) and "
            f"{limits.max_megapixels:g} megapixels ({section}.max_megapixels)"
        )
    return look_at(data, memory)


def digest_with(folder: Path, known: Mapping[str, str]) -> str:
    """Return the digest of a folder as it is now, given those of the files that were read already, by their names."""
    names = [path.relative_to(folder).as_posix() for path in visible_files(folder)]
    return tree_digest((name, known.get(name) or content_digest(folder / name)) for name in names)
