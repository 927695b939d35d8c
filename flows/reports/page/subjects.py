"""What a page can be of: a run that has just ended, a preset whose models are in the store, or some models."""

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.errors import UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparable import Judged, but_for_its_seed, check_comparable
from taskdistill.flows.pipeline.comparing import image_scores
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.reports.page.subject import FOLDER, SPLIT, Subject
from taskdistill.flows.reports.shipping import CHOSEN_ON, best_commands, best_student
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore


def of_run(
    experiment: Experiment,
    results: Sequence[ModelResult],
    steps: Mapping[str, ArtifactRef],
    store: ArtifactStore,
    command: str,
) -> Subject:
    """Return what the page of a run tells of."""
    best = best_student(results, store)
    next_commands = best_commands(best, f"my-{experiment.name}") if best else []
    return Subject(experiment.name, results, steps, store, command, next_commands)


def refs_of(stages: Sequence[Mapping[str, Any]]) -> dict[str, ArtifactRef]:
    """Return what a run made or found by the names of its steps, as `run_plan` tells it."""
    return {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}


def of_preset(experiment: Experiment, store: ArtifactStore, command: str) -> Subject:
    """Return the same of a run that ended before; UserError where none of its models was scored yet."""
    plan = make_plan(experiment, store)
    results = [one for one in plan.results if one.evaluation in store and one.artifact in store]
    if not results:
        raise UserError(
            f"no model of {experiment.name!r} with these settings was scored in {store.root}: run it first "
            f"('{command}'), or name models: 'taskdistill list model' has them"
        )
    return of_run(experiment, results, {step.name: step.ref for step in plan.steps}, store, command)


def of_models(store: ArtifactStore, names: Sequence[str]) -> Subject:
    """Return what tells of models, each beside its teacher, what it started from, and its control.

    Raises NotInStoreError where a name means no model, and UserError where one was never scored, or where some were
    scored on other images than the first.
    """
    # Both import torch, which a run that finds its page does without.
    from taskdistill.flows.pipeline.models import resolved_model
    from taskdistill.flows.reports.lineage import compared_with

    results: dict[ArtifactRef, ModelResult] = {}
    for name in names:
        found = compared_with(store, resolved_model(store, name))
        if not found:
            raise UserError(f"{name!r} was never scored: run the step evaluate of its experiment")
        of_name = [*found[1:], found[0]]
        results |= {one.artifact: one for one in of_name if one.artifact not in results}
    _check_same_images(store, list(results.values()))
    every = _one_name_each(store, list(results.values()))
    best = best_student(every, store)
    steps = dict(_named(store, [ref for one in every for ref in (one.artifact, one.evaluation)]))
    command = "taskdistill run preset.yaml (which is below)"
    return Subject(", ".join(names), every, steps, store, command, best_commands(best, "best") if best else [])


def _check_same_images(store: ArtifactStore, results: Sequence[ModelResult]) -> None:
    """Raise SettingsError where models were judged on different images, which no page can show side by side."""
    for split in (SPLIT, CHOSEN_ON):
        scored = [Judged(one.model, one.model, (one.evaluation,)) for one in results if image_scores(one, split, store)]
        if scored:
            check_comparable(store, scored, split)


def _one_name_each(store: ArtifactStore, results: Sequence[ModelResult]) -> list[ModelResult]:
    """Return models with different names where they differ in more than the seed: they are no seeds of one model."""
    recipes = [but_for_its_seed(store.manifest(one.artifact)) for one in results]
    kinds = defaultdict[str, set[str]](set)
    for one, recipe in zip(results, recipes, strict=True):
        kinds[one.model].add(recipe)
    return [
        one if len(kinds[one.model]) == 1 else ModelResult(f"{one.model} {one.artifact.short}", one.seed, *_refs(one))
        for one in results
    ]


def _refs(one: ModelResult) -> tuple[ArtifactRef, ArtifactRef]:
    return one.evaluation, one.artifact


def _named(store: ArtifactStore, refs: Sequence[ArtifactRef]) -> Iterator[tuple[str, ArtifactRef]]:
    """Yield all that artifacts were made from, by stage and reference, what was made first first."""
    waiting, seen = list(refs), dict[ArtifactRef, None]()
    while waiting:
        ref = waiting.pop(0)
        if ref in store and ref not in seen:
            seen[ref] = None
            waiting += store.manifest(ref).input_refs.values()
    for ref in reversed(seen):
        yield f"{store.manifest(ref).recipe['stage']} {ref.short}", ref


def place_of(subject: Subject) -> Path:
    """Return where the page lies that nobody named a place for: another one where the scores are others."""
    last = subject.results[-1].evaluation.fingerprint[:8]
    name = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in subject.title)[:80]
    return subject.store.root / FOLDER / f"{name}-{last}.html"


def command_of(source: str, overrides: Sequence[str], synthetic: str = "") -> str:
    """Return the line that runs a preset with changes; without the passwords of addresses, as a page is passed on."""
    changes = [part for override in overrides for part in ("--set", override)]
    given = ["--synthetic", synthetic] if synthetic else []
    return without_credentials(shlex.join(["taskdistill", "run", source, *changes, *given]))
