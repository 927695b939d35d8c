"""Doing what a plan says, and telling a person how it goes.

Command line and Prefect flows share this one path and differ only in `do`: how a single step is done.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from configs.base import StageConfig
from configs.choices import nearest
from configs.errors import SettingsError
from configs.experiment import Experiment
from configs.generation import EmbedConfig, GenerateConfig
from configs.places import portable
from flows.pipeline.chain import ModelResult, chain
from flows.pipeline.planning import Plan, Step, make_plan
from flows.pipeline.progress import progress
from storage.errors import NotInStoreError
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.catalog import STAGES
from tasks.stage import OnProgress, Stage, content_digests_of, execute

log = logging.getLogger(__name__)

INDENT = " " * 7
"""The width of what is done with a step, and a blank."""

DoStep = Callable[[Step], ArtifactRef]
"""Sees to it that the artifact of a step is in the store, and returns its reference."""


def experiment_settings_of(experiment: Experiment) -> dict[str, Any]:
    """Return the settings as they go into manifests, from which `show` prints a preset that works in any folder."""
    return portable(experiment)


def in_this_process(experiment: Experiment, store: ArtifactStore, console: Console) -> DoStep:
    """Return the way the command line does a step: right here, showing it on the console."""
    experiment_settings = experiment_settings_of(experiment)
    if experiment.runtime.fan_out > 1:
        log.warning(
            "runtime.fan_out is %d, but the command line does everything in this process: start the flow from Prefect "
            "('taskdistill serve', and 'taskdistill worker' on each GPU) to spread the work",
            experiment.runtime.fan_out,
        )

    def do(step: Step) -> ArtifactRef:
        with shown(console, step) as on_progress:
            return execute(
                step.stage,
                step.config,
                step.inputs,
                store=store,
                runtime=experiment.runtime,
                on_progress=on_progress,
                experiment_settings=experiment_settings,
            )

    return do


def run_plan(
    experiment: Experiment, store: ArtifactStore, do: DoStep, *, synthetic: ArtifactRef | None = None
) -> tuple[list[ModelResult], list[dict[str, Any]]]:
    """Make whatever is missing; returns the evaluations and what was done for each stage."""
    plan = make_plan(experiment, store, synthetic=synthetic)
    if not plan.is_complete:
        store.check_writable()
    check_models(experiment, plan)
    stages: list[dict[str, Any]] = []
    planned = {step.name: step for step in plan.steps}

    def run(step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]) -> ArtifactRef:
        began = time.monotonic()
        ref = do(replace(planned[step], inputs=inputs))
        action = {"have": "have", "resume": "resumed"}.get(planned[step].action, "built")
        seconds = round(time.monotonic() - began, 2)
        stages.append({"name": step, "action": action, "reference": str(ref), "seconds": seconds})
        return ref

    with _held(plan.steps, store):
        return chain(experiment, run, synthetic=synthetic), stages


def run_steps(
    experiment: Experiment,
    name: str,
    store: ArtifactStore,
    do: DoStep,
    *,
    inputs: Mapping[str, ArtifactRef] | None = None,
    synthetic: ArtifactRef | None = None,
) -> list[ArtifactRef]:
    """Run the step of this name, or all steps of the stage of this name; what they need must be in the store.

    `inputs` takes the place of what the experiment would use, by role.
    """
    planned = make_plan(experiment, store, synthetic=synthetic).steps
    steps = [step for step in planned if name in (step.name, step.stage.name)]
    if not steps:
        raise SettingsError(_no_step(name, [step.name for step in planned]))
    steps = [_given(step, inputs or {}, store) for step in steps]
    makers = {step.ref: step for step in planned}
    if any(step.ref not in store for step in steps):
        store.check_writable()
    with _held(steps, store):
        for step in steps:
            _check_inputs(step, makers, store)
        return [do(step) for step in steps]


@contextmanager
def _held(steps: Sequence[Step], store: ArtifactStore) -> Iterator[None]:
    """Keep `collect` and `discard` from what these steps make and read."""
    if all(step.action == "have" for step in steps) and not os.access(store.root, os.W_OK):
        yield  # nobody removes anything from a store that cannot be written to
        return
    with store.roots.held({ref for step in steps for ref in (step.ref, *step.inputs.values())}):
        yield


def _no_step(name: str, steps: Sequence[str]) -> str:
    if name in {stage.name for stage in STAGES}:
        return (
            f"stage {name!r} has no part in this experiment, whose steps are {', '.join(steps)}. Settings such as "
            "teacher_training and synthetic_images decide which stages have one"
        )
    return f"there is no step or stage {name!r}{nearest(name, {*steps, *(stage.name for stage in STAGES)})}"


def _given(step: Step, inputs: Mapping[str, ArtifactRef], store: ArtifactStore) -> Step:
    """Plan a step anew with other inputs."""
    if not inputs:
        return step
    roles = {**step.stage.inputs, **step.stage.optional_inputs}
    for role in inputs.keys() - roles.keys():
        raise SettingsError(f"stage {step.stage.name!r} has no input {role!r}{nearest(role, roles)}")
    given = {**step.inputs, **inputs}
    ref = step.stage.reference(step.config, given, content_digests_of(step.config, store))
    return replace(step, inputs=given, ref=ref, action="have" if ref in store else "build", because="")


def _check_inputs(step: Step, makers: Mapping[ArtifactRef, Step], store: ArtifactStore) -> None:
    missing = [(role, ref) for role, ref in step.inputs.items() if ref not in store]
    if step.ref not in store and missing:
        role, ref = missing[0]
        how = f"run the step {makers[ref].name!r} first" if ref in makers else "check the reference"
        raise NotInStoreError(
            f"{step.name} needs the input {role!r} ({ref.short}), which is not in the store {store.root}: {how}, or "
            "give another"
        )


def check_models(experiment: Experiment, plan: Plan) -> None:
    """Try the networks that a step to do still needs, before anything expensive starts, so that names, weights and
    settings that do not go together are known in seconds. Where nothing is left to do, torch is not imported.
    """
    configs = [step.config for step in plan.steps if step.action != "have"]
    if not configs:
        return
    from tasks.models.task_model import device_of  # torch, only where there is work
    from tasks.models.trial import try_encoder, try_generator, wanted_of

    device = device_of(experiment.runtime)
    backbones = [getattr(config, "backbone", None) for config in configs]
    sizes = {
        wanted.role: try_encoder(wanted, device) for wanted in wanted_of(experiment) if wanted.backbone in backbones
    }
    if any(isinstance(config, EmbedConfig | GenerateConfig) for config in configs):
        try_generator(experiment.generator)
    if sizes.get("student", 0) > sizes.get("teacher", math.inf):
        log.warning(
            "the student (%s, %.1f M parameters) is larger than the teacher (%s, %.1f M): is it the other way round?",
            experiment.student.name, sizes["student"] / 1e6, experiment.teacher.name, sizes["teacher"] / 1e6,
        )  # fmt: skip


@contextmanager
def shown(console: Console, step: Step) -> Iterator[OnProgress]:
    """Show one stage: a bar with the time left on a terminal, a line now and then elsewhere."""
    name = step.name
    if step.action == "have":
        console.print(Text("have  ", "green"), f"{name}  {step.ref.short}")
        yield lambda unit, done, total: None
        return
    began = time.monotonic()
    console.print(Text(f"{step.action:6s}", "cyan"), f"{name}  {step.ref.short}  {step.because}")
    with progress(console, INDENT + name) as on_progress:
        yield on_progress
    console.print(f"{INDENT}{name} done in {time.monotonic() - began:.0f} s")
