"""What a run did with each step, as a table and in words: reused, resumed or built, how long it took, what it cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.errors import StoreError
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore

RUN = "run"
"""Field of a manifest's provenance: the Prefect run that made the artifact; missing where it was the command line."""


REUSED, NOT_FINISHED = "reused", "not finished"
_KINDS = (REUSED, "resumed", "built", NOT_FINISHED)
"""How what became of a step begins."""


class ShownStep(NamedTuple):
    """A step that a run has come to."""

    name: str
    what: str
    """Such as "reused", "resumed at 40 of 120 epochs", "built" or "not finished"."""
    seconds: float
    """Of this run."""
    ref: ArtifactRef


def run_name(experiment: Experiment) -> str:
    """Return what tells a run from others: its preset, the folder of its images, its seeds."""
    seeds = ",".join(map(str, experiment.seeds))
    return " ".join(part for part in (experiment.name, Path(experiment.data.path).name, f"seed {seeds}") if part)


def what_was_done(step: PlannedStep, made: Manifest, run_id: str) -> str:
    """Say how a step that is done came by its artifact; `run_id` is the run that asked for it."""
    made_by = made.provenance.get(RUN, {}).get("id", "")
    if step.action == "have":
        return REUSED
    # Another run may have been faster: this one waited for its lock, and found the artifact there.
    if made_by != run_id:
        return "reused, made meanwhile"
    return f"resumed {step.because}".strip() if step.action == "resume" else "built"


def is_reused(step: ShownStep) -> bool:
    return step.what.startswith(REUSED)


def are_all_reused(steps: Sequence[ShownStep]) -> bool:
    """Whether a run found everything there; not of one that came to no step."""
    return bool(steps) and all(map(is_reused, steps))


def in_words(steps: Sequence[ShownStep]) -> str:
    """Say what a run did in one line."""
    if are_all_reused(steps):
        return f"{'The one step is' if len(steps) == 1 else f'All {len(steps)} steps'} reused: nothing had to be made"
    kinds = [next(kind for kind in _KINDS if step.what.startswith(kind)) for step in steps]
    each = ", ".join(f"{kinds.count(kind)} {kind}" for kind in _KINDS if kind in kinds)
    seconds = sum(step.seconds for step in steps if not is_reused(step))
    return f"{counted(len(steps), 'step')}: {each}; {duration(seconds)} of work"


def step_rows(steps: Sequence[ShownStep], store: ArtifactStore) -> list[dict[str, Any]]:
    """Return a row for each step, in the order in which they came to their ends."""
    return [_row(step, store) for step in steps]


def _row(step: ShownStep, store: ArtifactStore) -> dict[str, Any]:
    try:
        made = store.manifest(step.ref)
    except StoreError:  # the step failed, or what is wrong with its artifact is said elsewhere
        cost, made_by = "", ""
    else:
        cost, made_by = _cost(made), maker(made.provenance)
    return {
        "step": step.name,
        "what": step.what,
        "seconds": round(step.seconds, 1),
        "cost": cost,
        "made by": made_by,
        "reference": str(step.ref),
    }


def _cost(made: Manifest) -> str:
    """Say what it took to make an artifact, in this run or another, and what it takes to keep it."""
    seconds = made.summary.get("seconds")
    return f"{f'{duration(seconds)}, ' if seconds is not None else ''}{bytes_in_words(made.num_bytes)}"


def maker(provenance: Mapping[str, Any]) -> str:
    """Say who made an artifact, and when, by its manifest."""
    run = provenance.get(RUN)
    who = f"{run['name']} ({run['flow']})" if run else f"the command line on {provenance.get('host', '?')}"
    return f"{who}, {str(provenance.get('made', '')).replace('T', ' ')[:16]}"


def duration(seconds: float) -> str:
    """Say how long something took, in the unit that people would use."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
