"""Doing what a plan says.

Command line and Prefect flows share this one path and differ only in `show`: what surrounds a single step.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError, naming
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import EmbedConfig, GenerateConfig
from taskdistill.configs.places import portable
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.planning import Plan, PlannedStep, make_plan
from taskdistill.flows.pipeline.process_pool import StepProcesses
from taskdistill.flows.pipeline.room import check_room
from taskdistill.flows.pipeline.scheduling import NOTHING_AWAITED, NOWHERE, Awaited, Done, Elsewhere, run_ready
from taskdistill.flows.pipeline.slots import Slots, gpus_of_each, slots_of
from taskdistill.flows.pipeline.teacher_gap import says_teacher_gap
from taskdistill.storage.errors import NotInStoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.prechecks.trackers import MLFLOW, TENSORBOARD, check_installed
from taskdistill.tasks.stage import OnProgress, content_digests_of, execute
from taskdistill.tasks.turns import GPUS, taking_turns

log = logging.getLogger(__name__)

ExecuteStep = Callable[[PlannedStep, OnProgress], ArtifactRef]
"""Makes the artifact of a step where the store has it not, in this process or another, and returns its reference."""
ShowStep = Callable[[PlannedStep, ExecuteStep], ArtifactRef]
"""Has a step done by calling what it is given, and shows it: on a console, or as a task run."""


AskedBy = Mapping[str, str]
"""Who asks for a run, as people find it: for Prefect name, flow, id and page; nothing for the command line."""
NOBODY: AskedBy = MappingProxyType({})


def experiment_settings_of(experiment: Experiment) -> dict[str, Any]:
    """Return the settings as they go into manifests, from which `show` prints a preset that works in any folder."""
    return portable(experiment)


def noted_of(experiment: Experiment, asked_by: AskedBy) -> dict[str, Any]:
    """Return what manifests say of the run that made an artifact."""
    return {"settings": experiment_settings_of(experiment)} | ({"run": dict(asked_by)} if asked_by else {})


def run_plan(
    experiment: Experiment,
    store: ArtifactStore,
    show: ShowStep,
    *,
    synthetic: ArtifactRef | None = None,
    asked_by: AskedBy = NOBODY,
    elsewhere: Elsewhere = NOWHERE,
) -> tuple[list[ModelResult], list[dict[str, Any]]]:
    """Make whatever is missing; returns the evaluations and what was done for each stage.

    Steps that do not need each other run at the same time, as many as `runtime.slots` says, and beside them those that
    `show` has done elsewhere. Raises NoRoomError where the disk cannot hold what is missing, MissingPackageError where
    a tracker is asked for that is not installed, and the error of a step that failed, when the others are done;
    StepsFailedError where several did.
    """
    with store.sources.looking_once():
        plan = make_plan(experiment, store, synthetic=synthetic)
        if experiment.runtime.mlflow_uri:
            check_installed(MLFLOW)
        if not plan.is_complete:  # a finished run is shown also from a store that can only be read
            store.check_writable()
        check_room(plan.steps, experiment, store)
        check_models(experiment, plan)
        # From here on `collect` in another terminal keeps its hands off what this run makes and reads.
        with _held(plan.steps, store):
            # A finished run only shows its scores, and what there is to say of the teacher stands under them.
            awaited = NOTHING_AWAITED if plan.is_complete else says_teacher_gap(plan.results, store)
            done = _run(experiment, store, plan.steps, show, asked_by, elsewhere, awaited)
    refs = {one.step.ref: one.ref for one in done}  # files that change after planning give other artifacts
    results = [
        replace(result, evaluation=refs[result.evaluation], artifact=refs[result.artifact]) for result in plan.results
    ]
    return results, [_row(one) for one in done]


def _run(
    experiment: Experiment,
    store: ArtifactStore,
    steps: Sequence[PlannedStep],
    show: ShowStep,
    asked_by: AskedBy,
    elsewhere: Elsewhere,
    awaited: Awaited = NOTHING_AWAITED,
) -> list[Done]:
    if experiment.runtime.tensorboard and any(step.action != "have" for step in steps):
        check_installed(TENSORBOARD)
    slots = slots_of(experiment.runtime, steps, elsewhere)
    # What waits for others has a thread; and what computes in a thread could not be ended, as a process can.
    executing = _in_processes if slots.number + elsewhere.number > 1 else _in_this_process
    with executing(experiment, store, slots, asked_by) as execute:
        return run_ready(steps, lambda step: show(step, execute), slots.number, awaited, elsewhere)


@contextmanager
def _in_processes(
    experiment: Experiment, store: ArtifactStore, slots: Slots, asked_by: AskedBy
) -> Iterator[ExecuteStep]:
    """Yield what makes artifacts in a process for each slot."""
    turns, noted = _turns(slots, asked_by), noted_of(experiment, asked_by)
    gpus = gpus_of_each(slots, turns, experiment.runtime.ranks)
    with StepProcesses(gpus, store, experiment.runtime.within(experiment.name), noted, turns) as processes:
        yield processes.execute


@contextmanager
def _in_this_process(
    experiment: Experiment, store: ArtifactStore, slots: Slots, asked_by: AskedBy
) -> Iterator[ExecuteStep]:
    """Yield what makes artifacts here and now."""
    # A store of its own, as a process for the step would have: files that changed since they were planned with are seen
    # before they are read for days, and give another artifact.
    builder = ArtifactStore(store.root)
    runtime = experiment.runtime.within(experiment.name)
    named: dict[str, Any] = {"store": builder, "noted": noted_of(experiment, asked_by)}

    def here(step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        ref = step.stage.reference(step.config, step.inputs, content_digests_of(step.config, store))
        if ref in store:
            return ref
        with taking_turns(store, _turns(slots, asked_by)):
            how: dict[str, Any] = {"runtime": runtime.within(step.name), "on_progress": on_progress}
            return execute(step.stage, step.config, step.inputs, **how, **named)

    yield here


def _turns(slots: Slots, asked_by: AskedBy) -> Sequence[str]:
    """Return the kinds of device for whose turn steps wait.

    Who starts a run at the command line on a GPU, and who asks for more slots than there are GPUs, means it. What
    Prefect starts finds a GPU by itself, and there may be workers and other runs on some.
    """
    return GPUS if asked_by and slots.number <= max(1, slots.groups) else ()


def _row(done: Done) -> dict[str, Any]:
    action = {"have": "have", "resume": "resumed"}.get(done.step.action, "built")
    return {"name": done.step.name, "action": action, "reference": str(done.ref), "seconds": done.seconds}


def run_steps(
    experiment: Experiment,
    name: str,
    store: ArtifactStore,
    show: ShowStep,
    *,
    inputs: Mapping[str, ArtifactRef] | None = None,
    synthetic: ArtifactRef | None = None,
    asked_by: AskedBy = NOBODY,
    elsewhere: Elsewhere = NOWHERE,
) -> list[ArtifactRef]:
    """Run the step of this name, or all steps of the stage of this name; what they need must be in the store.

    `inputs` takes the place of what the experiment would use, by role. Raises SettingsError where there is no such step
    or role, NotInStoreError where an input is missing, and what `run_plan` raises.
    """
    with store.sources.looking_once():
        planned = make_plan(experiment, store, synthetic=synthetic).steps
        steps = [step for step in planned if name in (step.name, step.stage.name)]
        if not steps:
            raise SettingsError(no_step(name, [step.name for step in planned]))
        steps = [_given(step, inputs or {}, store) for step in steps]
        makers = {step.ref: step for step in planned}
        if any(step.ref not in store for step in steps):
            store.check_writable()
        check_room(steps, experiment, store)
        with _held(steps, store):
            for step in steps:
                _check_inputs(step, makers, store)
            return [done.ref for done in _run(experiment, store, steps, show, asked_by, elsewhere)]


@contextmanager
def _held(steps: Sequence[PlannedStep], store: ArtifactStore) -> Iterator[None]:
    """Keep `collect` and `discard` from what these steps make and read."""
    if all(step.action == "have" for step in steps) and not os.access(store.root, os.W_OK):
        yield  # nobody removes anything from a store that cannot be written to
        return
    with store.roots.held({ref for step in steps for ref in (step.ref, *step.inputs.values())}):
        yield


def no_step(name: str, steps: Sequence[str]) -> str:
    """Return what is wrong with the name of a step or stage that an experiment with these steps has not."""
    if name in {stage.name for stage in STAGES}:
        return (
            f"stage {name!r} has no part in this experiment, whose steps are {', '.join(steps)}. Settings such as "
            "teacher_training and synthetic_images decide which stages have one"
        )
    return f"there is no step or stage {name!r}{nearest(name, {*steps, *(stage.name for stage in STAGES)})}"


def _given(step: PlannedStep, inputs: Mapping[str, ArtifactRef], store: ArtifactStore) -> PlannedStep:
    """Plan a step anew with other inputs."""
    if not inputs:
        return step
    roles = {**step.stage.inputs, **step.stage.optional_inputs}
    for role in inputs.keys() - roles.keys():
        raise SettingsError(f"stage {step.stage.name!r} has no input {role!r}{nearest(role, roles)}")
    given = {**step.inputs, **inputs}
    ref = step.stage.reference(step.config, given, content_digests_of(step.config, store))
    return replace(step, inputs=given, ref=ref, action="have" if ref in store else "build", because="")


def _check_inputs(step: PlannedStep, makers: Mapping[ArtifactRef, PlannedStep], store: ArtifactStore) -> None:
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
    from taskdistill.tasks.foreign.network import tried  # torch, only where there is work
    from taskdistill.tasks.models.device import check_ranks_have_devices, device_of
    from taskdistill.tasks.models.trial import try_encoder, try_generator, wanted_of
    from taskdistill.tasks.problems.problem import problem_named

    check_ranks_have_devices(experiment.runtime)
    device = device_of(experiment.runtime)
    backbones = [getattr(config, "backbone", None) for config in configs]
    sizes: dict[str, float] = {}
    for wanted in wanted_of(experiment):
        if wanted.backbone in backbones:
            with naming(wanted.role if experiment.more_teachers else ""):
                sizes[wanted.role] = try_encoder(wanted, device)
    if plan.has_untried_teacher:
        axes = problem_named(experiment.problem).output_axes
        foreign = tried(experiment.foreign_teacher, plan.classes, axes, device)
        for sentence in foreign.said:
            log.warning("%s", sentence)
        # Of a plain function nobody can say how large the network behind it is.
        sizes["teacher"] = foreign.num_parameters or math.inf
    if any(isinstance(config, EmbedConfig | GenerateConfig) for config in configs):
        try_generator(experiment.generator)
    if sizes.get("student", 0) > sizes.get("teacher", math.inf):
        teacher = "foreign" if experiment.teacher_training == "foreign" else experiment.teacher.name
        log.warning(
            "the student (%s, %.1f M parameters) is larger than the teacher (%s, %.1f M): is it the other way round?",
            experiment.student.name, sizes["student"] / 1e6, teacher, sizes["teacher"] / 1e6,
        )  # fmt: skip
