"""Which commit an artifact names: that of this program's own checkout, or none."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskdistill.storage import provenance

PYPROJECT = '[project]\nname = "{}"\n'
ASK = "from taskdistill.storage import provenance; provenance.GIT_SECONDS = 0.5; print(provenance.code_commit())"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def install(folder: Path, project: str = "taskdistill") -> Path:
    """Put the program into a folder as a checkout has it, with links in the package that lead to its rooms, and with a
    pyproject of this name beside it; none where the name is empty.
    """
    copy_room(folder / "storage")
    (folder / "taskdistill").mkdir()
    (folder / "taskdistill" / "__init__.py").touch()
    (folder / "taskdistill" / "storage").symlink_to("../storage")
    if project:
        (folder / "pyproject.toml").write_text(PYPROJECT.format(project))
    return folder


def copy_room(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    shutil.copy(provenance.__file__, folder)


def commit_all(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")


def commit_named_by(folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd="/", env=os.environ | {"PYTHONPATH": str(folder)} | environment,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_checkout_names_its_commit_and_whether_it_was_changed(repository: Path):
    commit = commit_all(install(repository))
    assert commit_named_by(repository) == commit
    (repository / "notes.txt").touch()
    assert commit_named_by(repository) == commit
    (repository / "pyproject.toml").write_text(PYPROJECT.format("taskdistill") + "# changed\n")
    assert commit_named_by(repository) == f"{commit}+changes"


def test_installed_below_a_repository_of_the_user_it_names_no_commit(repository: Path):
    packages = repository / ".venv" / "lib" / "site-packages"
    copy_room(packages / "taskdistill" / "storage")
    (repository / "pyproject.toml").write_text(PYPROJECT.format("taskdistill"))
    commit_all(repository)
    assert commit_named_by(packages) == "unknown"


@pytest.mark.parametrize("project", ["birds", ""])
def test_copied_into_a_repository_of_the_user_it_names_no_commit(repository: Path, project: str):
    commit_all(install(repository, project))
    assert commit_named_by(repository) == "unknown"


@pytest.mark.parametrize("text", ["", "[", "[project]", "project = 3", "\0"])
def test_another_kind_of_pyproject_is_no_traceback(repository: Path, text: str):
    commit_all(install(repository, project=""))
    (repository / "pyproject.toml").write_text(text)
    assert commit_named_by(repository) == "unknown"


def test_a_file_that_the_repository_does_not_know_names_no_commit(repository: Path):
    (repository / "README.md").touch()
    commit_all(repository)
    install(repository)
    assert commit_named_by(repository) == "unknown"


def test_a_repository_that_the_environment_names_makes_no_difference(repository: Path, tmp_path: Path):
    commit = commit_all(install(repository))
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    assert commit_named_by(repository, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other)) == commit


@pytest.mark.parametrize("script", ["sleep 30", "exit 128", "printf '\\377'; exit 1", ""])
def test_a_git_that_hangs_fails_or_is_not_there_costs_little_and_no_traceback(
    repository: Path, tmp_path: Path, script: str
):
    commit_all(install(repository))
    programs = tmp_path / "programs"
    programs.mkdir()
    if script:
        (programs / "git").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "git").chmod(0o755)
        os.symlink(shutil.which("sleep") or "", programs / "sleep")
    began = time.monotonic()
    assert commit_named_by(repository, PATH=str(programs)) == "unknown"
    assert time.monotonic() - began < 15


def test_no_home_and_another_owner_are_no_traceback(repository: Path):
    commit = commit_all(install(repository))
    if os.geteuid() == 0:
        for path in [repository, *repository.rglob("*")]:
            os.chown(path, 12345, 12345, follow_symlinks=False)
    assert commit_named_by(repository, HOME="") in (commit, "unknown")
