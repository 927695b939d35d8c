"""The page of a small real run before a browser: on a desk and on a phone, in light and dark, on paper."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.flows.browser import browser, missing_program
from tests.flows.conftest import Done

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing_program() != "", reason=f"{missing_program()} is not installed"),
]

WIDTHS = [1400, 390]
TOO_WIDE = """
return [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.parentElement.closest(".scroll"))
    .map(one => one.tagName + " " + one.className)
"""
"""What sticks out of the window; tables and drawings that are wider are moved within their frames."""
NOT_LOADED = "return [...document.images].filter(one => !one.complete || !one.naturalWidth).map(one => one.alt)"


@pytest.fixture(scope="module")
def driver(run_with_blends: tuple[Path, Done], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser that has opened the page of a run with blends, every part of it unfolded."""
    report = Path(run_with_blends[1].json["report"])
    with browser(report.as_uri(), tmp_path_factory.mktemp("browser")) as page:
        page.driver.get(page.address)
        page.driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true })")
        page.driver.execute_script("for (const one of document.images) one.loading = 'eager'")
        page.read("How to make it again")
        yield page.driver


def seen_at(driver: Chrome, width: int) -> Chrome:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return driver


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_all_pictures_are_there(driver: Chrome, width: int) -> None:
    seen_at(driver, width)
    assert driver.execute_script(TOO_WIDE) == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script("return document.images.length") > 20
    assert driver.execute_script(NOT_LOADED) == []
    assert driver.execute_script("return document.querySelectorAll('svg').length") >= 6


def test_it_asks_for_nothing_and_the_console_has_nothing_to_say(driver: Chrome) -> None:
    assert driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)") == []
    assert driver.get_log("browser") == []


def test_text_is_light_on_dark_where_the_reader_wants_it_so_and_in_charts_too(driver: Chrome) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        colours[scheme] = [
            driver.execute_script(f"return getComputedStyle(document.querySelector({element!r})).{name}")
            for element, name in (("body", "backgroundColor"), ("body", "color"), ("svg text", "fill"))
        ]
    assert colours["light"][0] == "rgb(255, 255, 255)"
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))
    assert colours["dark"][1] == colours["dark"][2]  # text in charts is text
