"""The pages that people read lead where they say, and what they run is there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md")]


def anchors_of(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_or_a_heading_that_is_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        place, _, anchor = link.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), link
        assert not anchor or anchor in anchors_of(file), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_of_tests_that_is_to_be_run_is_there(page: Path) -> None:
    named = set(re.findall(r"\bpython -m (tests[\w.]*)|`(tests\.benchmarks\.\w+)", page.read_text()))
    for module in (run or told for run, told in named):
        assert importlib.util.find_spec(module), module


def test_every_page_is_reached_from_the_readme() -> None:
    linked = re.findall(r"\]\(([^)#]+\.md)", (ROOT / "README.md").read_text())
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} - {"README.md"} == set(linked)
