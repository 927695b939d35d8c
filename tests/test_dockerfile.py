"""What the Dockerfile does, done here without a Docker daemon, which would fetch gigabytes: its COPY lines into a
folder, and its pip lines there.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions(name: str) -> list[str]:
    """What follows a keyword of the Dockerfile, for each line that begins with it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [line.partition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]


def names_let_through() -> set[str]:
    """What .dockerignore, which leaves out all else, lets Docker see."""
    first, *lines = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as the COPY lines fill it."""
    folder = tmp_path_factory.mktemp("image") / "src"
    folder.mkdir()
    for line in instructions("COPY"):
        *names, target = line.split()
        assert set(names) <= names_let_through(), line
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, folder / target)
    return folder


def run_line(start: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Do the one RUN line that holds a text, with this Python and its pip."""
    (line,) = [line for line in instructions("RUN") if start in line]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "INDEX": ""} | variables
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.nightly
def test_what_is_installed_first_is_what_the_project_needs_as_it_is_pinned(source: Path):
    if not importlib.util.find_spec("mmseg"):
        pytest.skip("the extra segmentation, which the image has, is not installed here")
    done = run_line("tomllib", source, PIP_DRY_RUN="1", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout
    wanted = (source / "wanted.txt").read_text().splitlines()
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert wanted == project["dependencies"] + extras["segmentation"] + extras["jpeg"]


def test_what_is_installed_is_the_whole_program_and_runs_with_the_variables_of_the_image(source: Path, tmp_path: Path):
    built = {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        built = {"PIP_TARGET": str(tmp_path / "site")}  # pip fetches the one that is wanted
    done = run_line("--no-deps .", source, **built)
    assert done.returncode == 0, done.stderr

    def files(root: Path) -> set[str]:
        rooms = [path for name in ("configs", "storage", "tasks", "flows") for path in (root / name).rglob("*")]
        return {str(path.relative_to(root)) for path in rooms if path.is_file() and "__pycache__" not in path.parts}

    assert files(tmp_path / "site" / "taskdistill") == files(ROOT)
    variables = dict(pair.split("=") for line in instructions("ENV") for pair in line.split())
    assert {variables["TASKDISTILL_STORE"], variables["TASKDISTILL_HOME"]} == set(json.loads(instructions("VOLUME")[0]))
    here = {name: value.replace("/st", f"{tmp_path}/st") for name, value in variables.items()}
    (command,) = json.loads(instructions("ENTRYPOINT")[0])
    for arguments in (["list", "--json"], [*json.loads(instructions("CMD")[0]), "--help"]):
        done = subprocess.run(
            [tmp_path / "site" / "bin" / command, *arguments], cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | here | {"PYTHONPATH": str(tmp_path / "site")}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_nobody_else_can_look_into_its_state(tmp_path: Path):
    (line,) = [line for line in instructions("RUN") if "useradd" in line]
    user, *made = line.replace(" /st", f" {tmp_path}/st").replace("--owner taskdistill", "").split("&&")
    assert "--uid 1000 taskdistill" in user
    subprocess.run(["sh", "-ec", " && ".join(made)], check=True)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"store": 0o755, "state": 0o700}


def test_its_python_is_one_that_the_project_is_made_for():
    (image,) = instructions("FROM")
    version = re.match(r"python:3\.(\d+)-", image)
    wanted = re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])
    assert version
    assert wanted
    assert int(version[1]) >= int(wanted[1])
