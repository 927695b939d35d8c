"""Doing what a plan says, in this process, and telling a person how it goes."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from configs.base import StageConfig
from configs.experiment import Experiment
from flows.chain import Evaluated, chain
from flows.planning import Plan, Step, make_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.stage import Report, Stage, execute

log = logging.getLogger(__name__)

PLAIN_SECONDS = 20.0


def origin_of(experiment: Experiment) -> dict[str, Any]:
    """Return the settings as they go into manifests, from which `show` prints the preset again."""
    return experiment.model_dump(mode="json", by_alias=True)


def run_plan(
    experiment: Experiment, store: ArtifactStore, console: Console, *, synthetic: ArtifactRef | None = None
) -> tuple[list[Evaluated], list[dict[str, Any]]]:
    """Make whatever is missing; returns the evaluations and what was done for each stage."""
    plan = make_plan(experiment, store, synthetic=synthetic)
    check_models(experiment, plan)
    stages: list[dict[str, Any]] = []
    planned = {step.name: step for step in plan.steps}

    def run(step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]) -> ArtifactRef:
        began = time.monotonic()
        with shown(console, step, planned[step]) as report:
            ref = execute(
                stage,
                config,
                inputs,
                store=store,
                runtime=experiment.runtime,
                report=report,
                origin=origin_of(experiment),
            )
        action = {"have": "have", "resume": "resumed"}.get(planned[step].action, "built")
        seconds = round(time.monotonic() - began, 2)
        stages.append({"name": step, "action": action, "reference": str(ref), "seconds": seconds})
        return ref

    return chain(experiment, run, synthetic=synthetic), stages


def check_models(experiment: Experiment, plan: Plan) -> None:
    """Build both networks before anything expensive starts, so that wrong names and weights are known in seconds."""
    if not any(step.action != "have" and step.stage.name in ("ingest", "extract") for step in plan.steps):
        return
    from tasks.models.encoder import build_encoder  # torch and timm, only where there is work

    sizes = {
        role: sum(parameter.numel() for parameter in build_encoder(backbone).parameters())
        for role, backbone in (("teacher", experiment.teacher), ("student", experiment.student))
    }
    if sizes["student"] > sizes["teacher"]:
        log.warning(
            "the student (%s, %.1f M parameters) is larger than the teacher (%s, %.1f M): is it the other way round?",
            experiment.student.name, sizes["student"] / 1e6, experiment.teacher.name, sizes["teacher"] / 1e6,
        )  # fmt: skip


@contextmanager
def shown(console: Console, name: str, step: Step) -> Iterator[Report]:
    """Show one stage: a bar with the time left on a terminal, a line now and then elsewhere."""
    if step.action == "have":
        console.print(f"[green]have[/]   {name}  {step.ref.short}")
        yield lambda unit, done, total: None
        return
    began = time.monotonic()
    console.print(f"[cyan]{step.action:6s}[/] {name}  {step.ref.short}  {step.because}")
    if console.is_terminal:
        columns = (TextColumn("       {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            task = progress.add_task(name, total=None)
            yield lambda unit, done, total: progress.update(
                task, description=f"{name} ({unit})", completed=done, total=total
            )
    else:
        yield _plain(console, name, began)
    console.print(f"       {name} done in {time.monotonic() - began:.0f} s")


def _plain(console: Console, name: str, began: float) -> Report:
    last, first = began, -1

    def report(unit: str, done: int, total: int) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = done - 1 if first < 0 else first
        if now - last >= PLAIN_SECONDS:
            last = now
            left = (now - began) / max(done - first, 1) * (total - done)
            console.print(f"       {name}: {done} of {total} {unit}, about {left:.0f} s left")

    return report


def run_steps(
    experiment: Experiment,
    names: set[str],
    store: ArtifactStore,
    console: Console,
    *,
    inputs: Mapping[str, ArtifactRef] | None = None,
    synthetic: ArtifactRef | None = None,
) -> list[ArtifactRef]:
    """Run only the steps of these names; their inputs must be in the store. `inputs` replaces some of them by role."""
    plan = make_plan(experiment, store, synthetic=synthetic)
    made = []
    for step in plan.steps:
        if step.name not in names:
            continue
        given = dict(step.inputs) | {role: ref for role, ref in (inputs or {}).items() if role in step.inputs}
        with shown(console, step.name, step) as report:
            made.append(
                execute(
                    step.stage,
                    step.config,
                    given,
                    store=store,
                    runtime=experiment.runtime,
                    report=report,
                    origin=origin_of(experiment),
                )
            )
    return made
