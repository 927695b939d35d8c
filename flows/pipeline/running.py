"""Doing what a plan says.

Command line and Prefect flows share this one path and differ only in `show`: what surrounds a single step.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.places import portable
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.model_trials import ModelTrials
from taskdistill.flows.pipeline.planning import Plan, PlannedStep, make_plan
from taskdistill.flows.pipeline.process_pool import StepProcesses
from taskdistill.flows.pipeline.room import check_room, leaving_room
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


def noted_of(step: PlannedStep, asked_by: AskedBy) -> dict[str, Any]:
    """Return what the manifest of a step's artifact says of the run that made it."""
    return {"settings": step.settings} | ({"run": dict(asked_by)} if asked_by else {})


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
        [results], rows = run_plans([plan], plan.steps, store, show, asked_by=asked_by, elsewhere=elsewhere)
    return results, rows


def run_plans(
    plans: Sequence[Plan],
    steps: Sequence[PlannedStep],
    store: ArtifactStore,
    show: ShowStep,
    *,
    asked_by: AskedBy = NOBODY,
    elsewhere: Elsewhere = NOWHERE,
) -> tuple[list[list[ModelResult]], list[dict[str, Any]]]:
    """Do the same for several experiments at once, whose `steps` they share; returns the evaluations of each.

    The work is done as `runtime` of the first says, and raises what `run_plan` raises.
    """
    first = plans[0]
    if first.experiment.runtime.mlflow_uri:
        check_installed(MLFLOW)
    if any(not plan.is_complete for plan in plans):  # a finished run is shown also from a store that can only be read
        store.check_writable()
    check_room(steps, first.experiment, store)
    trials = ModelTrials()
    for plan in plans:
        trials.check(plan)
    # From here on `collect` in another terminal keeps its hands off what this run makes and reads.
    with _held(steps, store):
        # A finished run only shows its scores, and what there is to say of the teacher stands under them; of many
        # teachers a table says it.
        is_told = len(plans) == 1 and not first.is_complete
        awaited = says_teacher_gap(first.results, store) if is_told else NOTHING_AWAITED
        done = _run(_runtime(first.experiment), store, steps, show, asked_by, elsewhere, awaited)
    refs = {one.step.ref: one.ref for one in done}  # files that change after planning give other artifacts
    results = [
        [replace(result, evaluation=refs[result.evaluation], artifact=refs[result.artifact]) for result in plan.results]
        for plan in plans
    ]
    return results, [_row(one) for one in done]


def _runtime(experiment: Experiment) -> RuntimeConfig:
    """Return how its work is done; what is written beside the store has its name."""
    return experiment.runtime.within(experiment.name)


def _run(
    runtime: RuntimeConfig,
    store: ArtifactStore,
    steps: Sequence[PlannedStep],
    show: ShowStep,
    asked_by: AskedBy,
    elsewhere: Elsewhere,
    awaited: Awaited = NOTHING_AWAITED,
) -> list[Done]:
    if runtime.tensorboard and any(step.action != "have" for step in steps):
        check_installed(TENSORBOARD)
    runtime = leaving_room(runtime, steps, store)
    elsewhere.told(runtime)
    slots = slots_of(runtime, steps, elsewhere)
    # What waits for others has a thread; and what computes in a thread could not be ended, as a process can.
    executing = _in_processes if slots.number + elsewhere.number > 1 else _in_this_process
    with executing(runtime, store, slots, asked_by) as execute:
        return run_ready(steps, lambda step: show(step, execute), slots.number, awaited, elsewhere)


@contextmanager
def _in_processes(
    runtime: RuntimeConfig, store: ArtifactStore, slots: Slots, asked_by: AskedBy
) -> Iterator[ExecuteStep]:
    """Yield what makes artifacts in a process for each slot."""
    turns = _turns(slots, asked_by)
    gpus = gpus_of_each(slots, turns, runtime.ranks)
    with StepProcesses(gpus, store, runtime, partial(noted_of, asked_by=asked_by), turns) as processes:
        yield processes.execute


@contextmanager
def _in_this_process(
    runtime: RuntimeConfig, store: ArtifactStore, slots: Slots, asked_by: AskedBy
) -> Iterator[ExecuteStep]:
    """Yield what makes artifacts here and now."""
    # A store of its own, as a process for the step would have: files that changed since they were planned with are seen
    # before they are read for days, and give another artifact.
    builder = ArtifactStore(store.root)

    def here(step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        ref = step.stage.reference(step.config, step.inputs, content_digests_of(step.config, store))
        if ref in store:
            return ref
        named: dict[str, Any] = {"store": builder, "noted": noted_of(step, asked_by)}
        named |= {"runtime": runtime.within(step.name), "on_progress": on_progress}
        with taking_turns(store, _turns(slots, asked_by)):
            return execute(step.stage, step.config, step.inputs, **named)

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
            return [done.ref for done in _run(_runtime(experiment), store, steps, show, asked_by, elsewhere)]


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
