"""Reports of a run, as the UI shows them: the scores, and pictures of what was made.

Prefect shows a picture within Markdown only where its bytes are in the text, and is slow above some 300 KB of it.
"""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from prefect.artifacts import create_markdown_artifact

from flows.chain import Evaluated
from flows.planning import Step
from flows.results import score_markdown
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore

CONTACT_SHEET = "contact-sheet.png"
MAX_TEXT_BYTES = 300_000
_MAX_PICTURE_BYTES = (MAX_TEXT_BYTES - 2000) * 3 // 4
"""Base64 makes four bytes of three; the rest is for the words around it."""


def report_scores(results: Sequence[Evaluated], store: ArtifactStore, name: str) -> None:
    create_markdown_artifact(
        score_markdown(results, store, name), key=_key(f"scores-{name}"), description=f"Scores of {name}"
    )


def report_pictures(step: Step, ref: ArtifactRef, store: ArtifactStore) -> None:
    """Show the contact sheet of an artifact, where it has one."""
    sheet = store.path(ref) / CONTACT_SHEET
    if sheet.is_file():
        text = picture_markdown(sheet, f"{step.name}: {ref}")
        create_markdown_artifact(text, key=_key(f"pictures-{step.name}"), description=f"Pictures of {ref.short}")


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


def _key(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text).strip("-")
