"""A process that has imported what a run needs, and waits for one: started ahead of time by a worker, which hands it a
run as one line of JSON, `{"environment": {...}, "folder": "..."}`. Most of the time from a click in the UI to the first
step of a run would go by with imports.

It is the process of its run in every way: a child of the worker, which takes signals, and whose death is seen. What it
has imported must be what it would import now, and the variables those of its run; otherwise it starts itself afresh.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

ENGINE = "prefect.engine"
AFRESH = ["-m", "taskdistill.flows.operation.child", ENGINE]
"""What makes a run without a spare process."""
RUN_ID = "PREFECT__FLOW_RUN_ID"
NO_RUN = f"{'TASKDISTILL_NO_RUN':_<{len(RUN_ID)}}={'0' * 36}"
"""Stands in the environment of a spare process for `PREFECT__FLOW_RUN_ID=...`, and is as long."""
OF_ONE_RUN = "PREFECT__"
"""How variables begin that differ from run to run, and that nobody reads while he is imported."""
IMPORTED = (
    "prefect.flow_engine",
    "prefect._internal.metrics",
    "prefect.runner.storage",
    "taskdistill.flows.deployed.distillation",
    "taskdistill.flows.deployed.single_stage",
    "taskdistill.flows.deployed.spans",
    "taskdistill.flows.deployed.steps",
    "taskdistill.flows.deployed.study",
)
"""No torch: a run that finds everything in the store does without."""

Files = Mapping[str, int]
"""Path of each file that was imported -> when it was last changed."""


def main() -> None:
    """Import, wait for a run, and become it."""
    os.environ.pop(NO_RUN.partition("=")[0], None)
    started_with = dict(os.environ)  # some modules set variables as they are imported
    for name in IMPORTED:
        importlib.import_module(name)
    imported = _imported_files()
    if not (line := sys.stdin.buffer.readline()):  # the worker has ended
        return
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    asked = json.loads(line)
    environment: dict[str, str] = asked["environment"]
    os.chdir(asked["folder"])
    if not _same_but_for_the_run(environment, started_with) or _imported_files() != imported:
        os.execve(sys.executable, [sys.executable, *AFRESH], environment)
    os.environ.update(environment)
    _tell_the_kernel(f"{RUN_ID}={environment[RUN_ID]}")
    sys.argv[:] = [ENGINE]
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)


def _same_but_for_the_run(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether what was imported would be the same with other variables, such as those of a deployment."""
    one, other = ({key: text for key, text in each.items() if not key.startswith(OF_ONE_RUN)} for each in (one, other))
    return one == other


def _imported_files() -> Files:
    found = {}
    for module in list(sys.modules.values()):
        if path := getattr(module, "__file__", None):
            with contextlib.suppress(OSError):  # one that is gone is missing here, and so differs from before
                found[path] = os.stat(path).st_mtime_ns
    return found


def _tell_the_kernel(variable: str) -> None:
    """Write the run's id to where /proc shows the variables that a process was started with: by it others find the
    process of a run (flows.operation.stopping, flows.operation.zombies).
    """
    if sys.platform != "linux":
        return
    # Fields 50 and 51: where the kernel put these variables; the first after the name in brackets is field 3.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    place = ctypes.string_at(start, end - start).find(NO_RUN.encode())
    if place >= 0 and len(variable) == len(NO_RUN):
        ctypes.memmove(start + place, variable.encode(), len(variable))


if __name__ == "__main__":
    main()
