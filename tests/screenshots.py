"""The README's pictures of the page: the form, a run's graph, its report, a schedule.

    python -m tests.screenshots .github

brings a machine up, has the demonstration run as a person does, and writes the pictures into the folder. On two cores
that are free it takes five minutes.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.flows.browser import Page, browser, missing_program
from tests.flows.local_server import machine, password_of

RUN_SECONDS = 7200.0
"""For the demonstration, on a machine that is busy with other things."""
WIDTH_PX = 1400
COLOURS = 128
"""Of a picture: the page has few, and a file of README is loaded by everybody."""


def main(folder: Path) -> None:
    """Write the pictures."""
    if missing := missing_program():
        sys.exit(f"{missing} is not installed: apt-get install chromium chromium-driver")
    with (
        tempfile.TemporaryDirectory() as place,
        machine(Path(place)) as environment,
        browser(environment["PREFECT_API_URL"].removesuffix("/api"), Path(place) / "browser") as page,
    ):
        page.log_in(password_of(environment))
        _form_and_run(page, folder)
        _schedule(page, folder)


def _form_and_run(page: Page, folder: Path) -> None:
    page.open_form("distillation")
    _take(page, folder / "prefect-form.png", height_px=1240)
    page.click("Submit")
    page.open_newest_run()
    page.read("Job Variables")
    page.read("\nCompleted\n", seconds=RUN_SECONDS)
    page.driver.refresh()  # the graph stays as it was while the run went on
    page.read(" Task runs\n")
    page.click("Details")
    page.read("State Message")
    _take(page, folder / "prefect-graph.png", height_px=1000)
    page.click("Artifacts")
    page.open_report("scores-miniature")
    _take(page, folder / "prefect-report.png", height_px=900)


def _schedule(page: Page, folder: Path) -> None:
    page.open_deployment("batch")
    page.click("Schedule")
    dialog = page.dialog()
    dialog.click("Cron")
    dialog.type("Value", "0 3 * * *")
    dialog.read("At 03:00 AM")
    dialog.click("Add item")
    dialog.choose("preset", "miniature")
    _take(page, folder / "prefect-schedule.png", height_px=900)


def _take(page: Page, path: Path, height_px: int) -> None:
    """Write what is seen in a window of this height."""
    size = {"width": WIDTH_PX, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.settle()
    seen = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    seen.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
