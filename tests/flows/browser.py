"""A person before the page of a Prefect server: Debian's chromium without a window, driven by selenium.

What is clicked is found by what is read on it, and every action waits until it can be done.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS = 120.0
"""For whatever the page does, on a machine that is busy with other things."""
QUIETLY = (
    "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1000",
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""The last one: the page asks hosts of its makers for this and that, which must neither be told nor waited for."""

_NOT_YET = (
    NoSuchElementException,
    StaleElementReferenceException,
    ElementNotInteractableException,
    ElementClickInterceptedException,
)
_CLICKABLE = "ancestor-or-self::*[self::button or self::a or @role]"

Found = TypeVar("Found")


def missing_program() -> str:
    """Return the name of what a browser needs and this machine lacks; empty where nothing is missing."""
    return next((name for name in ("chromium", "chromedriver") if not shutil.which(name)), "")


class Part:
    """A part of the page: all of it, or the dialog that is open."""

    def __init__(self, driver: Chrome, path: str) -> None:
        self.driver, self._path = driver, path

    def click(self, text: str) -> None:
        """Click on what reads exactly so; where several do, on the last, which lies above the others."""
        self._wait(lambda: self._click(text), f"{text!r} could not be clicked")

    def _click(self, text: str) -> bool:
        innermost = f"{self._path}//*[{_reads(text)}][not(*[{_reads(text)}])]"
        found = [each for each in self.driver.find_elements(By.XPATH, innermost) if each.is_displayed()]
        if not found:
            return False
        return _clicked((found[-1].find_elements(By.XPATH, _CLICKABLE) or found)[-1])

    def type(self, field: str, text: str) -> None:
        """Put a text into a field, in place of what is in it."""

        def put() -> bool:
            box = self._field(field).find_element(By.XPATH, "descendant-or-self::*[self::input or self::textarea]")
            box.send_keys(Keys.CONTROL, "a")
            box.send_keys(text)
            return box.get_attribute("value") == text

        self._wait(put, f"{text!r} could not be typed into {field}")

    def choose(self, field: str, option: str) -> None:
        """Choose from a drop-down."""
        button = "descendant-or-self::button"
        self._wait(lambda: _clicked(self._field(field).find_element(By.XPATH, button)), f"there is no list at {field}")
        Part(self.driver, "//*[@role='listbox']").click(option)
        self._wait(lambda: self._field(field).text.endswith(option), f"{option!r} is not chosen at {field}")

    def add(self, field: str, line: str) -> None:
        """Add a line to a field that takes several."""
        Part(self.driver, f"({self._boxes(field)})[1]").click("Add item")
        self.type(field, line)

    def read(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until this is read."""
        self._wait(lambda: text in self.text, f"{text!r} is not to be read", seconds)

    @property
    def text(self) -> str:
        return self.driver.find_element(By.XPATH, self._path).text

    def _field(self, name: str) -> WebElement:
        return self.driver.find_element(By.XPATH, self._boxes(name))

    def _boxes(self, name: str) -> str:
        """Return where the box of a field lies: what follows its name."""
        label = f"{self._path}//label[{_reads(name)} or {_reads(f'{name} (Optional)')}]"
        return f"{label}/following::*[self::fieldset or self::input or self::button[@role='combobox']][1]"

    def _wait(self, act: Callable[[], Found], what: str, seconds: float = WAIT_SECONDS) -> Found:
        wait = WebDriverWait(self.driver, seconds, ignored_exceptions=_NOT_YET)
        try:
            return wait.until(lambda _: act())
        except TimeoutException:
            read = self.driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"{what} within {seconds:.0f} s at {self.driver.current_url}, where is read:\n{read}")


class Page(Part):
    """The whole page."""

    def __init__(self, driver: Chrome, address: str) -> None:
        super().__init__(driver, "//body")
        self.address = address

    def open(self, path: str = "") -> None:
        self.driver.get(f"{self.address}/{path}")

    def log_in(self, password: str) -> None:
        """Give the password that the page asks for."""
        self.open()
        box = self._wait(
            lambda: self.driver.find_element(By.XPATH, "//input[@type='password']"), "no password is asked for"
        )
        box.send_keys(password)
        self.click("Login")
        self.read("Dashboard")

    def open_deployment(self, name: str) -> None:
        self.open("v2/deployments?limit=100")
        self._follow(f"//a[contains(@href, '/deployments/deployment/')][{_reads(name)}]", name)
        self.read(f"Deployments\n{name}\nFlow")

    def open_form(self, deployment: str) -> None:
        """Go where a run is started."""
        self.open_deployment(deployment)
        self.click("Run")
        self.click("Custom run")
        self.read("Run Name")

    def open_run(self, run_id: object, tab: str = "Logs") -> None:
        self.open(f"v2/runs/flow-run/{run_id}?tab={tab}")

    def open_newest_run(self) -> None:
        """Go to the first run that is listed."""
        self._follow("(//a[contains(@href, '/runs/flow-run/')])[1]", "a run")

    def open_report(self, key: str) -> None:
        """Go from a run's list of reports to one of them, as it is now."""
        self.click(key)
        self.read(f"Created {key}")
        self._follow("(//a[contains(@href, '/artifacts/artifact/')])[1]", key)
        self.read("State Message")

    def _follow(self, path: str, name: str) -> None:
        """Click on a link that shares its text with others."""
        self._wait(lambda: _clicked(self.driver.find_element(By.XPATH, path)), f"there is no link to {name}")

    def dialog(self) -> Part:
        """Return the dialog that is open, or will be in a moment."""
        return Part(self.driver, "//*[@role='dialog' or @role='alertdialog']")

    def settle(self) -> None:
        """Wait until what is seen stays as it is."""
        seen = [b""]

        def is_still() -> bool:
            seen.append(self.driver.get_screenshot_as_png())
            return seen[-1] == seen[-2]

        self._wait(is_still, "the page goes on moving")

    def width_of_picture(self) -> int:
        """Return the width of the picture that a report shows, once it is there, in pixels of its own."""
        picture = "//img[starts-with(@src, 'data:image/png')]"
        return int(
            self._wait(
                lambda: self.driver.find_element(By.XPATH, picture).get_property("naturalWidth"), "there is no picture"
            )
        )


@contextmanager
def browser(address: str, folder: Path) -> Iterator[Page]:
    """Run a browser that knows nothing yet, with its files in a folder; in the end nothing of it is left."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for switch in (*QUIETLY, f"user-data-dir={folder}"):
        options.add_argument(f"--{switch}")
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Page(driver, address)
    finally:
        driver.quit()


def _reads(text: str) -> str:
    return f"normalize-space()={text!r}"


def _clicked(element: WebElement) -> bool:
    element.click()
    return True
