"""Short forms of `python -m tests.power_cut`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def loop_mounts(tmp_path: Path) -> None:
    """Skips where this machine does not let a file be mounted as a file system."""
    (tmp_path / "mounted").mkdir()
    for command in (["truncate", "-s", "16M", "image"], ["mkfs.ext4", "-q", "image"], ["mount", "image", "mounted"]):
        try:
            done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip(f"{command[0]} is not installed")
        if done.returncode:
            pytest.skip(f"'{' '.join(command)}' is refused here: {done.stderr.strip()}")
    subprocess.run(["umount", "mounted"], cwd=tmp_path, check=True)


def cut(disk: str, cuts: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.power_cut", "--cuts", str(cuts), "--disk", disk]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, check=False, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_after_any_power_cut_the_same_command_makes_the_same_bytes_and_nothing_promised_is_lost() -> None:
    found = cut("emulated", 30)
    assert (found["cuts"], found["faults"]) == (30, [])
    assert len(found["operations"]) == 10


@pytest.mark.nightly
@pytest.mark.usefixtures("loop_mounts")
def test_the_same_holds_on_a_real_ext4_that_is_cut() -> None:
    found = cut("ext4", 10)
    assert (found["cuts"], found["faults"]) == (10, [])
