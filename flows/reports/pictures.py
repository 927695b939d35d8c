"""The pictures in artifacts: which there are, by what their stages say, and one of them within Markdown.

Prefect shows a picture only where its bytes are in the text, so they must be few.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import stage_named
from taskdistill.tasks.pages import as_jpeg, data_uri
from taskdistill.tasks.stage import Pictures

MAX_TEXT_BYTES = 300_000
"""Prefect's UI is slow with more."""
_MAX_PICTURE_BYTES = (MAX_TEXT_BYTES - 2000) * 3 // 4
"""Base64 makes four bytes of three; the rest is for the words around it."""


def pictures_of(ref: ArtifactRef, store: ArtifactStore) -> Iterator[tuple[Pictures, list[Path]]]:
    """Yield each kind of picture that the artifact's stage may have drawn, with the files that are there; a file that
    fits several patterns is of the first.
    """
    stage, seen = stage_named(store.manifest(ref).recipe["stage"]), set[Path]()
    for pictures in stage.pictures if stage else ():
        paths = sorted(set(store.path(ref).glob(pictures.pattern)) - seen)
        seen.update(paths)
        yield pictures, paths


def picture_markdown(path: Path, title: str) -> str:
    """Return Markdown that holds the picture itself, made smaller where it must be."""
    media_type, data = _small_enough(path)
    return f"# {title}\n\n![{path.name}]({data_uri(data, media_type)})\n"


def _small_enough(path: Path) -> tuple[str, bytes]:
    if path.stat().st_size <= _MAX_PICTURE_BYTES:
        return "image/png", path.read_bytes()
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    while len(data := as_jpeg(picture, quality=85)) > _MAX_PICTURE_BYTES:
        scale = 0.9 * (_MAX_PICTURE_BYTES / len(data)) ** 0.5
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return "image/jpeg", data
