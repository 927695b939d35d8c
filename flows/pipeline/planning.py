"""What a run would do, known before it does anything: have, resume, build, or stale because of which field.

Every fingerprint follows from the settings and the digests of external files, so naming all artifacts needs no work
and no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.configs.errors import SettingsError, naming
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.stages import ExtractConfig
from taskdistill.flows.pipeline.chain import ModelResult, chain
from taskdistill.flows.pipeline.estimates import Sizes
from taskdistill.flows.pipeline.given_images import check_given_images
from taskdistill.flows.pipeline.graph import Step
from taskdistill.flows.pipeline.held_features import held
from taskdistill.flows.pipeline.staleness import OlderForms, Wanted
from taskdistill.storage.drafts import check_draft
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.catalog import COMBINE
from taskdistill.tasks.prechecks.model_files import check_content
from taskdistill.tasks.sizes import Shown
from taskdistill.tasks.stage import Stage, content_digests_of

Action = Literal["have", "resume", "build", "stale"]


@dataclass(frozen=True)
class PlannedStep:
    """One step of a run, with the name of its artifact."""

    name: str
    stage: Stage[Any]
    config: StageConfig
    inputs: Mapping[str, ArtifactRef]
    ref: ArtifactRef
    action: Action
    because: str
    num_bytes: int | None
    """Size of the artifact: as it is, or about what it will be; None where that cannot be known."""
    shown: tuple[Shown, ...] = ()
    """What a frozen encoder is still to be shown for it; empty where none runs."""
    num_steps: int = 0
    """Optimiser steps of the training that is to make it; 0 where nothing is trained."""
    units: Mapping[str, int] = field(default_factory=dict)
    """How much there is to do in each unit that the stage may report its progress in, as far as that is known."""
    place: str = ""
    """Which of the run's steps it is, such as "3 of 14"."""


@dataclass(frozen=True)
class Plan:
    """All steps in order, and the evaluations that the final table will show."""

    steps: list[PlannedStep]
    results: list[ModelResult]
    datasets: list[IngestSummary]
    """What is known of each dataset of images (`flows.pipeline.dataset_words` says it)."""
    classes: tuple[str, ...] = ()
    """Of the dataset that is learnt; none where no step that is to do asks for them."""

    @property
    def has_untried_teacher(self) -> bool:
        """Whether a foreign teacher has work to do: `plan` cannot build one, as it does without torch."""
        return any(isinstance(step.config, PrecomputeForeignConfig) and step.action != "have" for step in self.steps)

    @property
    def is_complete(self) -> bool:
        return all(step.action == "have" for step in self.steps)


def make_plan(experiment: Experiment, store: ArtifactStore, *, synthetic: ArtifactRef | None = None) -> Plan:
    """Name every artifact of a run and say what there is to do; reads image folders only as far as they changed."""
    # First: a missing folder is named by the setting that is wrong, before anything fails over it.
    _check_places(experiment)
    if synthetic:
        check_given_images(experiment, store, synthetic)
    graph = chain(experiment, synthetic=synthetic)
    with store.sources.looking_once():
        named = _named(experiment, graph.steps, store)
    older, sizes = OlderForms(store, list(named.values())), Sizes(experiment, store)
    # In order: what is known of the size of a step's inputs comes from the steps before it.
    steps = []
    for number, step in enumerate(graph.steps, 1):
        with naming(experiment.setting_of(getattr(step.config, "backbone", None))):
            planned = _planned(step, named[step.name], older, sizes, store)
        steps.append(replace(planned, place=f"{number} of {len(graph.steps)}"))
    refs = {name: wanted.ref for name, wanted in named.items()}
    results = [
        ModelResult(model.model, model.seed, refs[model.evaluation], refs[model.artifact]) for model in graph.models
    ]
    ingests = [(step.config, step.ref) for step in steps if isinstance(step.config, IngestConfig | UnlabelledConfig)]
    return Plan(steps, results, [sizes.dataset_of(config, ref) for config, ref in ingests], sizes.classes)


def names_of_steps(
    experiment: Experiment, store: ArtifactStore, *, synthetic: ArtifactRef | None = None
) -> dict[str, ArtifactRef]:
    """Return the name of each step's artifact, and nothing of what there is to do."""
    steps = chain(experiment, synthetic=synthetic).steps
    with store.sources.looking_once():
        return {name: wanted.ref for name, wanted in _named(experiment, steps, store).items()}


def _named(experiment: Experiment, steps: Sequence[Step], store: ArtifactStore) -> dict[str, Wanted]:
    """Name the artifact of each step: a fingerprint needs only those of the steps before it."""
    named: dict[str, Wanted] = {}
    for step in steps:
        inputs = {
            role: named[source].ref if isinstance(source, str) else source for role, source in step.inputs.items()
        }
        # The content of files, not their place: the same images in another folder are the same artifact.
        with naming(experiment.setting_of(getattr(step.config, "backbone", None))):
            config = held(step.config, inputs, store) if isinstance(step.config, ExtractConfig) else step.config
            recipe = step.stage.recipe(config, inputs, content_digests_of(config, store))
        if step.stage is COMBINE and len(set(inputs.values())) < len(inputs):
            raise SettingsError(
                "more_teachers names the same network twice, from files with the same weights: leave one out, it would "
                "count twice"
            )
        ref = ArtifactRef(step.stage.output, fingerprint(recipe))
        named[step.name] = Wanted(ref, recipe, config, inputs)
    return named


def _check_places(experiment: Experiment) -> None:
    """Raise SettingsError where a folder or file that is needed does not exist, by the setting that names it."""
    for name, path in experiment.locations().items():
        if experiment.is_location_used(name) and not Path(path).expanduser().exists():
            raise SettingsError(f"{name} is {path!r}, which does not exist: set it to what is there")


def _planned(step: Step, wanted: Wanted, older: OlderForms, sizes: Sizes, store: ArtifactStore) -> PlannedStep:
    ref, config, inputs = wanted.ref, wanted.config, wanted.inputs
    known = (step.name, step.stage, config, inputs, ref)
    if ref in store:
        return PlannedStep(*known, "have", "", store.manifest(ref).num_bytes)
    check_content(config)  # not of what is there: its weights were read when it was made
    action, because = _why(ref, older, store)
    found = sizes.estimate(step.stage, config, inputs, ref)
    return PlannedStep(*known, action, because, found.num_bytes, found.shown, found.num_steps, found.units)


def _why(ref: ArtifactRef, older: OlderForms, store: ArtifactStore) -> tuple[Action, str]:
    if store.draft_path(ref).is_dir():
        check_draft(ref, store.draft_path(ref))  # here, not hours later, when the run comes to this step
        return "resume", how_far(store, ref)
    changes = older.changes(ref)
    return ("stale", changes) if changes else ("build", "")


def how_far(store: ArtifactStore, ref: ArtifactRef) -> str:
    """Say where an unfinished artifact is."""
    progress = store.progress(ref)
    return f"at {progress['done']} of {progress['total']} {progress['unit']}" if progress else "from the beginning"
