"""Packages that are missing, or not of a version that this program works with."""

import importlib.metadata
from collections.abc import Iterator, Sequence

from packaging.requirements import Requirement

from taskdistill.flows.operation.finding import Finding

PACKAGE = "taskdistill"
_OTHER_NAMES = {"mmcv-lite": "mmcv"}
"""Package -> another one that is imported in its place, of which the same versions are meant."""


def package_findings(requirements: Sequence[str] | None = None) -> Iterator[Finding]:
    """Yield what is wrong with what this program requires, unless said; of its extras, with what is installed."""
    for text in requirements if requirements is not None else importlib.metadata.requires(PACKAGE) or []:
        wanted = Requirement(text)
        is_of_an_extra = wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})
        found = {name: _version(name) for name in (wanted.name, _OTHER_NAMES.get(wanted.name, ""))}
        if not any(found.values()) and not is_of_an_extra:
            yield Finding(f"{wanted.name} is not installed", _install(wanted.name, wanted))
        for name, version in found.items():
            if version and not wanted.specifier.contains(version, prereleases=True):
                what = f"{name} is of version {version}, and this program works with {wanted.specifier}"
                yield Finding(what, _install(name, wanted))


def _version(name: str) -> str:
    """Return the version of a package, "" where it is not installed."""
    try:
        return importlib.metadata.version(name) if name else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _install(name: str, wanted: Requirement) -> str:
    return f"pip install '{name}{wanted.specifier}'"
