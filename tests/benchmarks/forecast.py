"""What `plan --calibrate` says of a first run, beside what that run then takes.

    REAL_DATA_DIR=... python -m tests.benchmarks.forecast [--quick]

Of the preset clothing10, with one seed, and of the miniature on world 0, each in an empty store: the forecast over the
wall time, and that of the steps added up. For an idle machine; --quick takes the miniature alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.birds import SPECIES, draw_world, folder_of
from tests.benchmarks.report import Row, finish, parser

MOST_WRONG = 1.25


def main() -> None:
    arguments = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        birds = [f"data.path={folder_of(folder, 0, SPECIES)}"]
        draw_world(load_experiment(SPECIES.preset, birds), 0, SPECIES)
        rows = forecast("miniature", birds, folder)
        if not arguments.quick:
            rows += forecast("clothing10", ["seeds=[0]"], folder)
    finish("Forecast of a first run", rows, as_json=arguments.json)


def forecast(preset: str, settings: list[str], folder: Path) -> list[Row]:
    """Return how far the forecast is from the run, and what it took itself."""
    began = time.monotonic()
    plan = said("plan", preset, settings, folder, "--calibrate")
    measured, began = time.monotonic() - began, time.monotonic()
    run = said("run", preset, settings, folder)
    took = time.monotonic() - began
    in_steps = [sum(step["seconds"] for step in told["stages"]) for told in (plan, run)]
    bounds = {"at_most": MOST_WRONG, "at_least": 1 / MOST_WRONG}
    return [
        Row(f"{preset}, forecast / wall time", plan["seconds_in_all"] / took, **bounds),
        Row(f"{preset}, forecast / steps added up", in_steps[0] / in_steps[1], **bounds),
        Row(f"{preset}, measuring", measured, "s"),
        Row(f"{preset}, run", took, "s"),
    ]


def said(command: str, preset: str, settings: list[str], folder: Path, *options: str) -> Any:
    """Return what a command of the command line prints for programs, in a store for the preset."""
    changes = [text for setting in settings for text in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", command, preset, *changes, *options, "--json"],
        env=os.environ | {"TASKDISTILL_STORE": str(folder / f"store-{preset}")}, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
