"""The command that makes the shipped weights again: killed and continued, it follows the curve in the package."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskdistill.storage.files import read_json
from taskdistill.tasks.miniature.networks import WEIGHTS
from taskdistill.tasks.training import checkpoint

NUM_POINTS = 12
"""Points of the curve that are compared at least, of 100; the first ones, in which the loss falls by half."""
TIMEOUT_SECONDS = 400


def pretrain_until(folder: Path, num_points: int) -> list[dict[str, float]]:
    """Run the command until it wrote a checkpoint with so many points of the curve, kill -9, and return them."""
    command = [sys.executable, "-m", "taskdistill.flows.cli", "miniature", "pretrain", "student", str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    curve = curve_of(folder)
    try:
        while len(curve) < num_points and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            curve = curve_of(folder)
    finally:
        run.kill()
        run.wait()
    assert len(curve) >= num_points
    return curve


def curve_of(folder: Path) -> list[dict[str, float]]:
    saved = checkpoint.load(folder / "student")
    return saved[1]["curve"] if saved else []


@pytest.mark.nightly
@pytest.mark.slow
def test_the_pretraining_command_killed_and_continued_follows_the_shipped_curve(tmp_path: Path):
    before = pretrain_until(tmp_path, 1)
    after = pretrain_until(tmp_path, max(NUM_POINTS, len(before) + 1))
    assert after[: len(before)] == before
    shipped = read_json(WEIGHTS / "student.history.json")["curve"]
    for found, expected in zip(after, shipped, strict=False):
        assert found == pytest.approx(expected, rel=0.1)
