"""Pictures within Markdown: Prefect shows one only where its bytes are in the text, so they must be few."""

import base64
import io
from pathlib import Path

from PIL import Image

MAX_TEXT_BYTES = 300_000
"""Prefect's UI is slow with more."""
_MAX_PICTURE_BYTES = (MAX_TEXT_BYTES - 2000) * 3 // 4
"""Base64 makes four bytes of three; the rest is for the words around it."""


def picture_markdown(path: Path, title: str) -> str:
    """Return Markdown that holds the picture itself, made smaller where it must be."""
    media_type, data = _small_enough(path)
    return f"# {title}\n\n![{path.name}](data:{media_type};base64,{base64.b64encode(data).decode()})\n"


def _small_enough(path: Path) -> tuple[str, bytes]:
    if path.stat().st_size <= _MAX_PICTURE_BYTES:
        return "image/png", path.read_bytes()
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    while len(data := _jpeg(picture)) > _MAX_PICTURE_BYTES:
        scale = 0.9 * (_MAX_PICTURE_BYTES / len(data)) ** 0.5
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return "image/jpeg", data


def _jpeg(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=85)
    return data.getvalue()
