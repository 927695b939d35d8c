"""The demonstration: the pipeline as it is, on a world of birds that needs no download.

It draws a dataset, runs a preset on it like on any other, and writes a page: species are told apart, or each pixel gets
its part of the bird. Nothing here computes anything of the method.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.birds import SPECIES, Task, draw_world, folder_of
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.subjects import refs_of
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.flows.reports.shipping import best_student
from taskdistill.storage.store import ArtifactStore


class Demonstration(NamedTuple):
    """What a demonstration made."""

    experiment: Experiment
    results: list[ModelResult]
    stages: list[dict[str, Any]]
    report: Path
    next_commands: list[str]


def world_experiment(folder: Path, world: int, overrides: Sequence[str] = (), task: Task = SPECIES) -> Experiment:
    """Return the preset for one world, which is a seed: of its species, its pictures, and all that is random later."""
    seeded = [f"{section}.seed={world}" for section in ("views", "blends", "probe", "student_probe")]
    experiment = load_experiment(task.preset, [f"seeds=[{world}]", *seeded, *overrides])
    data = experiment.data.model_copy(update={"path": str(folder_of(folder, world, task))})
    return experiment.model_copy(update={"data": data})


def _command(experiment: Experiment, folder: Path, world: int, overrides: Sequence[str]) -> str:
    problem, changes = experiment.problem, [part for override in overrides for part in ("--set", override)]
    named = ["--folder", str(folder), "--world", str(world), "--problem", problem]
    return shlex.join(["taskdistill", "demo", *named, *changes])


def demonstrate(
    folder: Path, world: int, overrides: Sequence[str], store: ArtifactStore, console: Console, task: Task = SPECIES
) -> Demonstration:
    """Draw the world, do what is missing of the run, and write the page.

    Raises SettingsError where the settings name other images than the world's.
    """
    if any(override.partition("=")[0].strip() == "data.path" for override in overrides):
        raise SettingsError(
            "--set data.path has no place in a demonstration, whose images are drawn into --folder: run your own with "
            f"'taskdistill run {task.preset_of_yours} --set data.path=/path/to/your/images'"
        )
    experiment = world_experiment(folder, world, overrides, task)
    draw_world(experiment, world, task)
    with on_console(experiment, console) as show:
        results, stages = run_plan(experiment, store, show)
    report = folder / f"{task.report}-{world}.html"
    best = best_student(results, store)
    shown = best.artifact if best else results[-1].artifact
    next_commands = [
        f"taskdistill show {shown.short}",
        f"taskdistill predict {shown.short} {folder_of(folder, world, task)}/images/test",
        f"taskdistill plan {task.preset_of_yours} --set data.path=/path/to/your/images",
    ]
    title = f"{task.title} of world {world} (drawn, not photographed)"
    command = _command(experiment, folder, world, overrides)
    write_report(report, Subject(title, results, refs_of(stages), store, command, next_commands))
    return Demonstration(experiment, results, stages, report, next_commands)
