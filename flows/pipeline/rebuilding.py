"""Making a finished step again: what that would mean, and how to have it done. Nothing is ever discarded here.

The same settings name the same artifacts, so a run alone cannot make them again: either something is different, such as
a seed, or what is there has been discarded first, which is a decision of its own.
"""

from collections.abc import Iterator, Sequence

from taskdistill.configs.errors import SettingsError, UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan, names_of_steps
from taskdistill.flows.pipeline.running import no_step
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

SEEDS = "seeds"


class RebuildError(UserError):
    """What is to be made again is in the store."""


def check_rebuild(
    experiment: Experiment, store: ArtifactStore, name: str, *, synthetic: ArtifactRef | None = None
) -> None:
    """Return where the store has nothing of a step, or stage, and of what follows from it: a run makes it then.

    Raises SettingsError where there is no such step, and RebuildError, which says what would be made again and how.
    """
    steps = make_plan(experiment, store, synthetic=synthetic).steps
    chosen = [step for step in steps if name in (step.name, step.stage.name)]
    if not chosen:
        raise SettingsError(f"rebuild_from: {no_step(name, [step.name for step in steps])}")
    again = _with_dependents(chosen, steps)
    if not (there := [step for step in again if step.action in ("have", "resume")]):
        return
    seeds = _seeds_of(chosen, experiment, store, synthetic)
    first = [step for step in chosen if step in there] or there
    commands = "\n".join(f"    taskdistill discard {step.ref.short} --with-dependents" for step in first)
    beside = f"- beside what is there: start a run with another {' or '.join(seeds)}\n" if seeds else ""
    raise RebuildError(
        f"rebuild_from {name!r} would make {len(again)} of {len(steps)} steps again, and discards nothing: "
        f"{', '.join(f'{step.name} ({step.ref.short})' for step in again)}. To have them made again\n{beside}"
        f"- in place of what is there: discard it, with all that was made from it, then retry this run\n{commands}"
    )


def _with_dependents(chosen: Sequence[PlannedStep], steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """Return the steps and all that read what they make, in order."""
    refs = {step.ref for step in chosen}
    for step in steps:  # each stands behind those it reads
        if refs & set(step.inputs.values()):
            refs.add(step.ref)
    return [step for step in steps if step.ref in refs]


def _seeds_of(
    chosen: Sequence[PlannedStep], experiment: Experiment, store: ArtifactStore, synthetic: ArtifactRef | None
) -> list[str]:
    """Return the settings whose other value gives these steps other artifacts, from the inputs they have now."""
    before = names_of_steps(experiment, store, synthetic=synthetic)
    found = [SEEDS] if any(getattr(step.config, "seed", None) in experiment.seeds for step in chosen) else []
    for setting, changed in _other_seeds(experiment):
        after = names_of_steps(changed, store, synthetic=synthetic)
        kept = {ref for name, ref in after.items() if before[name] == ref}
        if all(after[step.name] not in kept and kept >= set(step.inputs.values()) - {synthetic} for step in chosen):
            found.append(setting)
    return found


def _other_seeds(experiment: Experiment) -> Iterator[tuple[str, Experiment]]:
    """Yield each setting of a section that is a seed, and the experiment with another one."""
    for setting in dotted_names(Kind(Experiment)):
        section, _, last = setting.rpartition(".")
        if last == "seed" and "." not in section:
            old = getattr(experiment, section)
            other = old.model_copy(update={"seed": old.seed + 1})
            yield setting, experiment.model_copy(update={section: other})
