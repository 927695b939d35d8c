"""A picture goes into Markdown as it is, or made smaller so that a browser can show the page."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.flows.reports.pictures import MAX_TEXT_BYTES, picture_markdown


def picture_in(text: str) -> tuple[str, Image.Image]:
    found = re.search(r"!\[sheet.png\]\(data:(image/\w+);base64,([^)]+)\)", text)
    assert found
    return found[1], Image.open(io.BytesIO(base64.b64decode(found[2])))


def test_a_small_picture_is_shown_unchanged(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "sheet.png")
    text = picture_markdown(tmp_path / "sheet.png", "blends")
    kind, shown = picture_in(text)
    assert text.startswith("# blends\n\n")
    assert kind == "image/png"
    np.testing.assert_array_equal(np.asarray(shown), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_large_picture_of_any_mode_is_made_smaller_in_its_proportions(tmp_path: Path, mode: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 1200, 3), np.uint8)).convert(mode)
    noise.save(tmp_path / "sheet.png")
    text = picture_markdown(tmp_path / "sheet.png", "blends")
    kind, shown = picture_in(text)
    assert len(text) <= MAX_TEXT_BYTES
    assert kind == "image/jpeg"
    assert shown.width == pytest.approx(2 * shown.height, abs=2)
    assert shown.width > 400
