"""Who made an artifact, when, with which code and packages, on what. Recorded for people; decides nothing."""

import functools
import platform
import subprocess
import tomllib
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


GIT_SECONDS = 2.0
"""How long git may take for each answer: on a slow network file system a run is not to wait for a note."""
_FILE = Path(__file__).resolve()  # in a checkout, the package has its rooms by links
CHECKOUT = _FILE.parents[1]


@functools.cache
def code_commit() -> str:
    """The commit of this program's own checkout, with `+changes` when the tree differs from it.

    `unknown` where it does not run from one, or git does not say. Installed into a folder inside a repository of the
    user's, it does not run from its own.
    """
    try:
        if not _is_own_checkout():
            return "unknown"
        _git("ls-files", "--error-unmatch", _FILE.relative_to(CHECKOUT).as_posix())
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _is_own_checkout() -> bool:
    if not (CHECKOUT / ".git").exists():
        return False
    try:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    except (OSError, ValueError, LookupError, TypeError):  # none, or the user's own
        return False
    return bool(project == "taskdistill")


def provenance(**more: Any) -> dict[str, Any]:
    return {
        "commit": code_commit(),
        "packages": {name: found for name in PACKAGES if (found := version_of(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }


def _git(*arguments: str) -> str:
    """Ask git about this checkout: not about another that GIT_DIR names, and without writing or starting anything."""
    command = ["git", "--no-optional-locks", f"--git-dir={CHECKOUT / '.git'}", f"--work-tree={CHECKOUT}"]
    return subprocess.run(
        [*command, "-c", "core.fsmonitor=false", "-C", str(CHECKOUT), *arguments],
        check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS,
    ).stdout.strip()  # fmt: skip


@functools.cache  # each is read from a file of its own, of a hundred kilobytes for some
def version_of(package: str) -> str:
    """Return the installed version of a package, "" where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
