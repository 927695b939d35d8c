"""What is disturbed: runs of one deployment each, on a store that holds all that comes before the step that is hit."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import PROGRESS, ArtifactStore
from taskdistill.tasks.stage import execute
from tests.flows.conftest import as_overrides

PIPELINE = "distillation-all-settings/distillation-all-settings"

Files = Mapping[str, Any]


class Work(NamedTuple):
    """One kind of run. Its last step but `after` is the one that is hit."""

    name: str
    deployment: str
    parameters: Mapping[str, Any]
    experiment: Experiment
    alone: Mapping[str, Any]
    """Parameters for a run that hands out nothing to workers."""
    before: Path
    """A store in which the steps before are done."""
    steps: Mapping[str, PlannedStep]
    """Those of the run, in their order."""
    missing: tuple[str, ...]
    """Names of steps that the store does not hold; the first is hit."""
    files: Mapping[str, Files]
    """What an undisturbed run makes: name of a missing step -> its artifact's files."""

    @property
    def hit(self) -> ArtifactRef:
        return self.steps[self.missing[0]].ref

    def here(self, store: ArtifactStore) -> Any:
        """Do the run as one of this process, on another store; returns its last state."""
        from taskdistill.flows.deployed.distillation import distillation_all_settings
        from taskdistill.flows.deployed.single_stage import FLOWS

        flow: Callable[..., Any] = distillation_all_settings
        if self.deployment != PIPELINE:
            flow = FLOWS[self.deployment.partition("/")[0]]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TASKDISTILL_STORE", str(store.root))
            return flow(**{**self.parameters, **self.alone}, return_state=True)

    def units(self, store: ArtifactStore) -> dict[str, int]:
        """What is made of the step that is hit: file of each chunk or shard -> when it was written."""
        folder = store.path(self.hit) if self.hit in store else store.draft_path(self.hit)
        found = [*folder.glob("outputs.zarr/*/outputs/c/*/*/0/0"), *folder.glob("shards/*.parquet")]
        return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}

    def is_in_the_middle(self, store: ArtifactStore) -> bool:
        """Whether something of the step would be lost, and something is there that must not be."""
        draft = store.draft_path(self.hit)
        return len(self.units(store)) >= 2 or (any(draft.glob("checkpoint*")) and (draft / PROGRESS).exists())


def pipeline(experiment: Experiment, bench: ArtifactStore, folder: Path) -> Work:
    """The whole pipeline, of which the distilled student and its scores are missing."""
    steps = {step.name: step for step in make_plan(experiment, bench).steps}
    missing = tuple(name for name in steps if name in ("distill-seed0", "evaluate-distilled-seed0"))
    parameters = {"experiment": experiment_settings_of(experiment)}
    return _work("pipeline", PIPELINE, (parameters, {}), (experiment, bench, folder), steps, missing)


def stage(name: str, step: str, experiment: Experiment, bench: ArtifactStore, folder: Path) -> Work:
    """One stage alone, of which one step is missing."""
    planned = make_plan(experiment, bench).steps
    steps = {each.name: each for each in planned if each.stage.name == name}
    needed = {ref for each in steps.values() for ref in each.inputs.values()}
    steps = {each.name: each for each in planned if each.ref in needed} | steps
    lines = as_overrides(experiment)
    parameters = {"overrides": lines}, {"overrides": [*lines, "runtime.fan_out=1"]}
    return _work(name, f"{name}/stage-{name}", parameters, (experiment, bench, folder), steps, (step,))


def _work(
    name: str,
    deployment: str,
    parameters: tuple[Mapping[str, Any], Mapping[str, Any]],
    where: tuple[Experiment, ArtifactStore, Path],
    steps: Mapping[str, PlannedStep],
    missing: tuple[str, ...],
) -> Work:
    experiment, bench, folder = where
    before, after = folder / f"before-{name}", folder / f"after-{name}"
    shutil.copytree(bench.root, before)
    _do([step for step in steps.values() if step.name not in missing], experiment, before)
    shutil.copytree(before, after)
    _do([steps[step] for step in missing], experiment, after)
    files = {step: ArtifactStore(after).manifest(steps[step].ref).files for step in missing}
    return Work(name, deployment, parameters[0], experiment, parameters[1], before, steps, missing, files)


def _do(steps: list[PlannedStep], experiment: Experiment, root: Path) -> None:
    store, noted = ArtifactStore(root), {"settings": experiment_settings_of(experiment)}
    for step in steps:
        execute(step.stage, step.config, step.inputs, store=store, runtime=experiment.runtime, noted=noted)
