"""What may be installed is what is tested: the lowest version that pyproject allows is the pinned one."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEPENDENCIES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def lower_bounds() -> dict[str, str]:
    """Package -> the version after >=, empty where there is none."""
    found = {}
    for dependency in DEPENDENCIES:
        name, bounds = re.fullmatch(r"([\w.-]+)(.*)", dependency).groups()
        found[normal(name)] = "".join(re.findall(r">=([\w.]+)", bounds))
    return found


def test_each_lower_bound_is_the_version_everything_is_tested_with() -> None:
    # So an installation of the pins is at once one of the lowest versions.
    assert lower_bounds() == {name: pins()[name] for name in lower_bounds()}


def test_everything_imported_is_a_dependency_by_its_own_name() -> None:
    """A package that comes along with another may stay away with the next version of that one."""
    imported = {
        match[1]
        for package in ("configs", "storage", "tasks", "flows")
        for path in (ROOT / package).rglob("*.py")
        for match in re.finditer(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    packages = packages_distributions()
    # pydantic names the one version of its core that it runs with.
    ours_or_bound = {"taskdistill", "pydantic-core"}
    needed = {normal(packages[name][0]) for name in imported if name in packages} - ours_or_bound
    assert needed - lower_bounds().keys() == set()
