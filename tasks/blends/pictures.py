"""Blends to look at, each between its parents: a contact sheet, and a page for the browser."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from taskdistill.storage.files import atomic
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.pages import as_jpeg, image_tag, page, write_page

SHEET_COLUMNS, SHEET_ROWS, CELL_PX, GAP_PX = 3, 6, 96, 12
PAGE_BLENDS, THUMBNAIL_PX = 400, 112


class Triple(NamedTuple):
    """A blend and its two parents, as pictures."""

    parent_a: Image.Image
    blend: Image.Image
    parent_b: Image.Image


def draw_contact_sheet(path: Path, blends: ImageSet, parents: ImageSet) -> None:
    """Draw some blends, at even distances in the set, each between its parents."""
    rows = _evenly_chosen(len(blends), SHEET_COLUMNS * SHEET_ROWS)
    width, height = SHEET_COLUMNS * (3 * CELL_PX + GAP_PX) + GAP_PX, SHEET_ROWS * (CELL_PX + GAP_PX) + 2 * GAP_PX
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, triple in enumerate(_triples(rows, blends, parents, CELL_PX)):
        left = GAP_PX + number % SHEET_COLUMNS * (3 * CELL_PX + GAP_PX)
        top = 2 * GAP_PX + number // SHEET_COLUMNS * (CELL_PX + GAP_PX)
        for place, (title, picture) in enumerate(zip(("parent", "blend", "parent"), triple, strict=True)):
            sheet.paste(picture, (left + place * CELL_PX, top))
            if number < SHEET_COLUMNS:
                draw.text((left + (place + 0.5) * CELL_PX, GAP_PX), title, fill="black", anchor="mm")
    with atomic(path) as partial:
        sheet.save(partial, "PNG")


def write_blends_page(path: Path, blends: ImageSet, parents: ImageSet, scores: pa.Table) -> None:
    """Write one HTML file that shows some blends, at even distances in the set, to be sorted by what they resemble."""
    rows = _evenly_chosen(len(blends), PAGE_BLENDS)
    chosen = scores.take(rows).to_pylist()
    triples = _triples(rows, blends, parents, THUMBNAIL_PX)
    figures = "\n".join(_figure(score, triple) for score, triple in zip(chosen, triples, strict=True))
    words = _WORDS.format(shown=len(rows), total=len(blends))
    write_page(path, page("Blends", _STYLE, f"{words}\n<main>\n{figures}\n</main>\n{_SCRIPT}"))


def _evenly_chosen(total: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, total - 1, min(total, wanted)).round().astype(int).tolist()))


def _triples(rows: Sequence[int], blends: ImageSet, parents: ImageSet, side_px: int) -> Iterator[Triple]:
    place = {image_id: row for row, image_id in enumerate(parents.ids)}
    for row in rows:
        a, b = blends.parents[row] or ("", "")
        yield Triple(
            _thumbnail(parents, place[a], side_px),
            _thumbnail(blends, row, side_px),
            _thumbnail(parents, place[b], side_px),
        )


def _thumbnail(images: ImageSet, row: int, side_px: int) -> Image.Image:
    """Return the central square of an image, as it is cropped for its generator."""
    picture = Image.fromarray(decoded_row(images, row))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.resize((side_px, side_px), Image.Resampling.BICUBIC, (left, top, left + side, top + side))


def _figure(score: dict[str, Any], triple: Triple) -> str:
    names = (score["parent_a"], score["id"], score["parent_b"])
    pictures = "".join(
        image_tag(as_jpeg(picture, quality=80), "image/jpeg", alt=name, title=name)
        for name, picture in zip(names, triple, strict=True)
    )
    likeness = (score["similarity_a"] + score["similarity_b"]) / 2
    words = f"{score['similarity_a']:.2f} &middot; {html.escape(score['id'])} &middot; {score['similarity_b']:.2f}"
    data = f'data-likeness="{likeness:.4f}" data-held="{score["similarity_held_out"] or 0:.4f}"'
    return f"<figure {data}>{pictures}<figcaption>{words}</figcaption></figure>"


_STYLE = """\
body { font: 15px system-ui, sans-serif; margin: 2em; color: #222; }
main { display: flex; flex-wrap: wrap; gap: 18px; }
figure { margin: 0; }
figcaption { text-align: center; color: #555; font-size: 12px; }
img { display: inline-block; width: 112px; height: 112px; }"""

_WORDS = """\
<p>{shown} of {total} blends, each between its parents; the numbers are its cosine similarity to either.
Order: <select onchange="order(this.value)">
<option value="set">as in the set</option><option value="likeness">most like their parents first</option>
<option value="unlike">least like their parents first</option>
<option value="held">most like a validation or test image first</option>
</select></p>"""

_SCRIPT = """\
<script>
const main = document.querySelector("main"), figures = [...main.children];
const keys = { set: () => 0, likeness: f => -f.dataset.likeness, unlike: f => f.dataset.likeness,
               held: f => -f.dataset.held };
function order(name) { main.append(...[...figures].sort((a, b) => keys[name](a) - keys[name](b))); }
</script>"""
