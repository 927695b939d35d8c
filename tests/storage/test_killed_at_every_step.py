"""Killed at any operation, what is written is there whole or not at all, and the same again makes the same bytes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def killed(action: str, how: str, folder: Path) -> list[str]:
    """Return what was found after each kill; skips where strace is missing or may not look on."""
    command = [sys.executable, "-m", "tests.storage.killed_at_every_step", action, how, str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=500)
    if "strace cannot look on" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def kept_old_or_new(found: Sequence[str]) -> bool:
    return set(found) == {"old", "new"} and found[0] == "old" and found[-1] == "new"


def made_whole(found: Sequence[str]) -> bool:
    return set(found) == {f"{first}; after another try whole" for first in ("absent", "whole")}


# --- at what Python does -----------------------------------------------------------------------------------------


def test_a_write_killed_at_any_moment_leaves_the_old_content_or_the_new(tmp_path: Path):
    found = killed("write_json", "audit", tmp_path)
    assert kept_old_or_new(found)
    assert len(found) >= 3


def test_a_commit_killed_at_any_moment_leaves_a_whole_artifact_or_none_and_can_be_done_again(tmp_path: Path):
    found = killed("commit", "audit", tmp_path)
    assert made_whole(found)
    assert len(found) >= 10, "the steps of a commit are its opens, renames and removals"


# --- at every system call, whoever makes it ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("action", ["write_json", "label"])
def test_a_small_file_killed_at_any_system_call_is_the_old_one_or_the_new(tmp_path: Path, action: str):
    found = killed(action, "strace", tmp_path)
    assert kept_old_or_new(sorted(found, reverse=True))
    assert len(found) > 14, "one for each call that is not made, and one for each that is"


@pytest.mark.slow
@pytest.mark.parametrize("action", ["views", "larger_views"])
def test_views_that_are_kept_when_their_table_is_killed_at_any_system_call_are_whole_and_the_rest_is_kept_next_time(
    tmp_path: Path, action: str
):
    (tmp_path / "views").mkdir()
    found = killed(action, "strace", tmp_path)
    assert set(found) == {f"{number} views; after another try 2 views" for number in range(3)}
    assert len(found) > 18


@pytest.mark.slow
@pytest.mark.parametrize(
    "action", ["commit", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("outputs", "shard")), "weights"]
)
def test_an_artifact_killed_at_any_system_call_is_whole_or_absent_and_made_again_to_the_same_bytes(
    tmp_path: Path, action: str
):
    found = killed(action, "strace", tmp_path)
    assert made_whole(found)
    assert len(found) > 30
