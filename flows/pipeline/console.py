"""How the command line shows the steps of a run: a line when one begins and when it is done, a bar while it works."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.progress import Bar, bars
from taskdistill.flows.pipeline.running import ExecuteStep, ShowStep
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.pace import taken
from taskdistill.tasks.stage import OnProgress, no_progress

log = logging.getLogger(__name__)

INDENT = " " * 7
"""The width of what is done with a step, and a blank."""


@contextmanager
def on_console(experiment: Experiment, console: Console) -> Iterator[ShowStep]:
    """Yield the way the command line does a step: on this machine, shown on the console."""
    if experiment.runtime.fan_out > 1:
        log.warning(
            "runtime.fan_out is %d, but the command line does everything on this machine: start the flow from Prefect "
            "('taskdistill up') to spread the work",
            experiment.runtime.fan_out,
        )
    began, made = time.monotonic(), 0
    with bars(console) as bar:

        def do(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
            nonlocal made
            made += step.action != "have"
            with _shown(console, bar, step) as on_progress:
                return execute(step, on_progress)

        yield do
    if made > 1:
        console.print(f"{INDENT}{made} steps done in {taken(time.monotonic() - began)}")


@contextmanager
def _shown(console: Console, bar: Bar, step: PlannedStep) -> Iterator[OnProgress]:
    name = step.name
    if step.action == "have":
        console.print(Text("have  ", "green"), f"{name}  {step.ref.short}")
        yield no_progress
        return
    began = time.monotonic()
    said = f"step {step.place}" + (f": {step.because}" if step.because else "")
    console.print(Text(f"{step.action:6s}", "cyan"), f"{name}  {step.ref.short}  {said}")
    with bar(INDENT + name) as on_progress:
        yield on_progress
    console.print(f"{INDENT}{name} done in {taken(time.monotonic() - began)}")
