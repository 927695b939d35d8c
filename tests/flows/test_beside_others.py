"""The installed package gets along with a project that has `tasks.py`, `configs`, `flows` and `storage` of its own."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from tests.flows.conftest import write_preset

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "flows", "storage", "tasks")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a wheel of this project is installed into."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for room in ("taskdistill", *ROOMS):  # a build leaves files beside them, which the next one would take along
        shutil.copytree(ROOT / room, source / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # pip fetches the setuptools that is wanted where the one here is too old.
    is_new = int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77
    options = ["--no-build-isolation", "--no-index"] if is_new else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *options, "--target", str(folder)]
    subprocess.run([*command, str(source)], check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder, in which all names are taken that our rooms have in the repository."""
    for room in ROOMS[:-1]:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("OURS = False\n")
    (tmp_path / "tasks.py").write_text("OURS = False\n")
    return tmp_path


def python(project: Path, site: Path, *arguments: str) -> str:
    """Run Python as somebody does who works in a project; returns what it prints."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": f".{os.pathsep}{site}", "TASKDISTILL_STORE": str(project / "store")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_one_name_is_installed(site: Path) -> None:
    installed = {path.name for path in site.iterdir() if path.suffix != ".dist-info"}
    assert installed == {"taskdistill", "bin"}


def test_each_finds_its_own(project: Path, site: Path) -> None:
    code = f"""
import {", ".join(ROOMS)}
import taskdistill.tasks.stage, taskdistill.configs.base, taskdistill.flows.cli, taskdistill.storage.store
assert not any(room.OURS for room in ({", ".join(ROOMS)}))
print(taskdistill.__file__, taskdistill.load.__module__)
"""
    assert python(project, site, "-c", code) == f"{site}/taskdistill/__init__.py taskdistill.flows.api\n"


@pytest.mark.nightly
def test_a_pipeline_runs_there_also_with_steps_in_processes_of_their_own(
    project: Path, site: Path, experiment: Experiment
) -> None:
    runtime = experiment.runtime.model_copy(update={"slots": 2})
    preset = write_preset(project / "shapes.yaml", experiment.model_copy(update={"runtime": runtime}))
    run = json.loads(python(project, site, "-m", "taskdistill", "run", preset, "--json"))
    assert "student distilled" in {row["model"] for row in run["scores"]}
