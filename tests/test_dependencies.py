"""What may be installed is what is tested: the lowest version that pyproject allows is the pinned one."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES: list[str] = PROJECT["dependencies"]
OPTIONAL = {
    "tasks/openmmlab": "segmentation",
    "tasks/export": "export",
    "tasks/data": "jpeg",
    "flows/reports": "trackers",
}
"""Room -> the extra whose packages it alone may import."""


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
        (path.relative_to(ROOT).parent.as_posix(), match[1])
        for package in ("configs", "storage", "tasks", "flows")
        for path in (ROOT / package).rglob("*.py")
        for match in re.finditer(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    packages = packages_distributions()
    # pydantic names the one version of its core that it runs with.
    ours_or_bound = {"taskdistill", "pydantic-core"}
    needed = {(room, normal(packages[name][0])) for room, name in imported if name in packages}
    assert {
        (room, package)
        for room, package in needed
        if package not in ours_or_bound | lower_bounds().keys() | optional(room)
    } == set()


def optional(room: str) -> set[str]:
    """Return the packages of the extra that a room may import."""
    extra = PROJECT["optional-dependencies"].get(OPTIONAL.get(room, ""), [])
    return {normal(re.split("[=<>]", dependency)[0]) for dependency in extra}


def test_each_extra_that_code_imports_is_pinned_to_what_is_tested() -> None:
    for extra in OPTIONAL.values():
        stated = dict(line.split("==") for line in PROJECT["optional-dependencies"][extra] if "==" in line)
        assert {normal(name): version for name, version in stated.items()} == {
            normal(name): pins()[normal(name)] for name in stated
        }
