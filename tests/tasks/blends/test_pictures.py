"""The page of blends shows names as they are: none of them is read as a format, as HTML or as another encoding."""

import html
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.tables import BLENDS
from taskdistill.tasks.blends.pictures import draw_contact_sheet, write_blends_page

NAMES = ["{0} {figures} {", '" onload="alert(1)', "</script><b>&amp;", "猫/قط 🐈.png", "$x^2$ \\frac{", "n" * 300]


def image_set(folder: Path, names: list[str], parents: list[list[str]] | None = None) -> ImageSet:
    """Write grey pictures of these names."""
    encoded = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(encoded, "PNG")
    folder.mkdir()
    rows = [
        ImageRow(name, encoded.getvalue(), 8, 8, "train", 0, parents=parents[number] if parents else None)
        for number, name in enumerate(names)
    ]
    write_shard(folder, 0, rows)
    write_index(folder, classes=["{name}"], num_shards=1)
    return ImageSet.open(folder)


def test_names_of_files_are_shown_as_they_are_whatever_is_in_them(tmp_path: Path) -> None:
    parents = image_set(tmp_path / "parents", NAMES)
    pairs = [[name, NAMES[0]] for name in NAMES]
    blends = image_set(tmp_path / "blends", [f"blend of {name}" for name in NAMES], pairs)
    rows = [
        {"id": f"blend of {name}", "parent_a": name, "parent_b": NAMES[0], "similarity_a": 0.5, "similarity_b": 0.25}
        for name in NAMES
    ]
    write_blends_page(tmp_path / "blends.html", blends, parents, pa.Table.from_pylist(rows, schema=BLENDS))
    draw_contact_sheet(tmp_path / "contact-sheet.png", blends, parents)

    page = (tmp_path / "blends.html").read_bytes().decode("utf-8")
    shown = [html.unescape(text) for text in re.findall(r'title="([^"]*)"', page)]
    assert shown == [title for name in NAMES for title in (name, f"blend of {name}", NAMES[0])]
    assert page.count("<script>") == page.count("</script>") == 1
