"""Who made an artifact, when, with which code and packages, on what. Recorded for people; decides nothing."""

import functools
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "taskdistill",
    "torch",
    "timm",
    "diffusers",
    "transformers",
    "zarr",
    "pyarrow",
    "numpy",
    "pillow",
    "prefect",
)


@functools.cache
def code_commit() -> str:
    """The commit of this checkout, with `+changes` when the tree differs from it; `unknown` outside one."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(**more: Any) -> dict[str, Any]:
    return {
        "commit": code_commit(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
