"""The README's pictures of a report.

    python -m tests.report_screenshots demo/report-0.html .github

opens the page of a finished demonstration and writes pictures of some of its sections into the folder.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome

from tests.flows.browser import browser, missing_program

WIDTH_PX, PHONE_PX, MAX_HEIGHT_PX, COLOURS = 1000, 390, 900, 128
SECTIONS = ("verdict", "classes", "features")


def main(report: Path, folder: Path) -> None:
    """Write the pictures."""
    if missing := missing_program():
        sys.exit(f"{missing} is not installed: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as place, browser(report.absolute().as_uri(), Path(place)) as page:
        page.driver.get(page.address)
        for name in SECTIONS:
            box = _box(page.driver, WIDTH_PX, f"document.getElementById({name!r})")
            _take(page.driver, box, folder / f"report-{name}.png")
        _take(page.driver, _box(page.driver, PHONE_PX, "document.body"), folder / "report-phone.png")


def _box(driver: Chrome, width: int, element: str) -> dict[str, Any]:
    """Return where an element lies at this width of the window."""
    metrics = {"width": width, "height": MAX_HEIGHT_PX, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    found = driver.execute_script(
        f"const box = {element}.getBoundingClientRect(); return [box.y + scrollY, box.height]"
    )
    top, height = map(float, found)
    return {"x": 0, "y": top, "width": width, "height": min(height, MAX_HEIGHT_PX), "scale": 1}


def _take(driver: Chrome, box: dict[str, Any], path: Path) -> None:
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": box, "captureBeyondViewport": True})
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
        picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
