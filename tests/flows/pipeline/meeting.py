"""A process for steps that knows two stages more: each can only be done while the other is.

`flows.pipeline.process_pool` starts it in the place of its own where a test says so.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from taskdistill.configs.base import StageConfig
from taskdistill.flows.pipeline import step_process
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.contents import Contents
from taskdistill.storage.summaries import Summary
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.stage import Stage, StageContext

SECONDS = 60.0


class MeetingConfig(StageConfig):
    """Where the two meet, what this one is called, and whom it waits for."""

    folder: str
    name: str
    other: str


class Meeting(Summary):
    """Which process it was, and how its idle threads wait."""

    process: int
    threads: str | None


def meet(config: MeetingConfig, context: StageContext) -> Summary:
    """Say that this one is here, and wait for the other."""
    folder = Path(config.folder)
    (folder / config.name).touch()
    deadline = time.monotonic() + SECONDS
    while not (folder / config.other).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{config.other} never came")
        time.sleep(0.02)
    (context.draft / "met.txt").write_text(f"{config.name} met {config.other}")
    context.on_progress("meetings", 1, 1)
    return Meeting(process=os.getpid(), threads=os.environ.get("OMP_WAIT_POLICY"))


def kill_itself(config: MeetingConfig, context: StageContext) -> Summary:
    """End as a process does that the kernel takes the memory of."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Summary()


def fail(config: MeetingConfig, context: StageContext) -> Summary:
    """A fault of the program."""
    raise ZeroDivisionError(config.name)


def _stage(name: str) -> Stage[Any]:
    contents = Contents(made=("met.txt",))
    run = f"tests.flows.pipeline.meeting:{name.replace('-', '_')}"
    return Stage(
        name=name,
        version=1,
        config_type=MeetingConfig,
        inputs={},
        output="meeting",
        run=run,
        contents=contents,
        optional_inputs={"after": "meeting"},
    )


MEET, KILL_ITSELF, FAIL = _stage("meet"), _stage("kill-itself"), _stage("fail")


def step(stage: Stage[MeetingConfig], place: Path, name: str, other: str = "", after: str = "") -> PlannedStep:
    """A step of a name, which may wait for another at the same time, or be done after one."""
    config = MeetingConfig(folder=str(place), name=name, other=other)
    inputs = {"after": step(MEET, place, after, after).ref} if after else {}
    return PlannedStep(name, stage, config, inputs, stage.reference(config, inputs, {}), "build", "", None)


def main(gpus: str) -> None:
    step_process.main(gpus, (*STAGES, MEET, KILL_ITSELF, FAIL))
