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
from taskdistill.configs.places import portable
from taskdistill.configs.stages import ExtractConfig
from taskdistill.flows.pipeline.chain import Chain, ModelResult, chain, ended
from taskdistill.flows.pipeline.estimates import Sizes
from taskdistill.flows.pipeline.given_images import check_given_images
from taskdistill.flows.pipeline.graph import Step
from taskdistill.flows.pipeline.held_features import HeldFeatures
from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.flows.pipeline.staleness import OlderForms, Wanted
from taskdistill.storage.drafts import check_draft
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.catalog import COMBINE
from taskdistill.tasks.prechecks.model_files import check_content
from taskdistill.tasks.sizes import Estimate, Shown
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
    external: Mapping[str, str] = field(default_factory=dict)
    """Digests of the content of the files and folders that its settings name."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the experiment that asks for it, as manifests have them: `show` prints a preset from them."""


@dataclass(frozen=True)
class Plan:
    """All steps of an experiment in order, and the evaluations that its final table will show."""

    experiment: Experiment
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
    [plan] = make_plans([experiment], store, synthetic=synthetic)
    return plan


def make_plans(
    experiments: Sequence[Experiment],
    store: ArtifactStore,
    *,
    synthetic: ArtifactRef | None = None,
    until: str = "",
    titles: Sequence[str] = ("",),
) -> list[Plan]:
    """Do the same for several experiments, each up to the step `until` where one is named: what they share is looked up
    once. SettingsError where one of them has no such step; errors name the experiment by its title.
    """
    graphs = []
    for experiment, title in zip(experiments, titles, strict=True):
        with naming(title):
            # First: a missing folder is named by the setting that is wrong, before anything fails over it.
            _check_places(experiment)
            if synthetic:
                check_given_images(experiment, store, synthetic)
            graphs.append(_graph(experiment, synthetic, until))
    with store.sources.looking_once():
        named, held = [], HeldFeatures(store)
        for experiment, graph, title in zip(experiments, graphs, titles, strict=True):
            with naming(title):
                named.append(_named(experiment, graph.steps, store, held))
        planner, plans = _Planner(store, [wanted for each in named for wanted in each.values()]), []
        for experiment, graph, names, title in zip(experiments, graphs, named, titles, strict=True):
            with naming(title):
                plans.append(planner.plan(experiment, graph, names))
        return plans


def _graph(experiment: Experiment, synthetic: ArtifactRef | None, until: str) -> Chain:
    graph = chain(experiment, synthetic=synthetic)
    return ended(graph, until) if until else graph


class _Planner:
    """Says of each artifact once what there is to do, however many experiments have it."""

    def __init__(self, store: ArtifactStore, wanted: Sequence[Wanted]) -> None:
        self._store, self._older = store, OlderForms(store, wanted)
        self._estimates: dict[ArtifactRef, Estimate] = {}
        self._planned: dict[ArtifactRef, PlannedStep] = {}

    def plan(self, experiment: Experiment, graph: Chain, named: Mapping[str, Wanted]) -> Plan:
        sizes, steps, settings = Sizes(experiment, self._store, self._estimates), [], portable(experiment)
        # In order: what is known of the size of a step's inputs comes from the steps before it.
        for number, step in enumerate(graph.steps, 1):
            ref = named[step.name].ref
            with naming(experiment.setting_of(getattr(step.config, "backbone", None))):
                found = self._planned.get(ref) or self._step(step, named[step.name], sizes)
            if ref.kind == "image-set":
                sizes.know(ref)
            place = f"{number} of {len(graph.steps)}"
            config = named[step.name].config
            planned = replace(found, name=step.name, config=config, place=place, settings=found.settings or settings)
            self._planned.setdefault(ref, planned)
            steps.append(planned)
        results = [
            ModelResult(model.model, model.seed, named[model.evaluation].ref, named[model.artifact].ref)
            for model in graph.models
        ]
        ingests = [
            (step.config, step.ref) for step in steps if isinstance(step.config, IngestConfig | UnlabelledConfig)
        ]
        datasets = [sizes.dataset_of(config, ref) for config, ref in ingests]
        return Plan(experiment, steps, results, datasets, sizes.classes)

    def _step(self, step: Step, wanted: Wanted, sizes: Sizes) -> PlannedStep:
        ref, config, inputs = wanted.ref, wanted.config, wanted.inputs
        known, external = (step.name, step.stage, config, inputs, ref), wanted.recipe["external"]
        if ref in self._store:
            return PlannedStep(*known, "have", "", self._store.manifest(ref).num_bytes, external=external)
        check_content(config)  # not of what is there: its weights were read when it was made
        action, because = _why(ref, self._older, self._store)
        found = sizes.estimate(step.stage, config, inputs, ref)
        sizes_of_it = (found.num_bytes, found.shown, found.num_steps, found.units)
        return PlannedStep(*known, action, because, *sizes_of_it, external=external)


def names_of_steps(
    experiment: Experiment, store: ArtifactStore, *, synthetic: ArtifactRef | None = None
) -> dict[str, ArtifactRef]:
    """Return the name of each step's artifact, and nothing of what there is to do."""
    steps = chain(experiment, synthetic=synthetic).steps
    with store.sources.looking_once():
        return {name: wanted.ref for name, wanted in _named(experiment, steps, store, HeldFeatures(store)).items()}


def _named(
    experiment: Experiment, steps: Sequence[Step], store: ArtifactStore, held: HeldFeatures
) -> dict[str, Wanted]:
    """Name the artifact of each step: a fingerprint needs only those of the steps before it."""
    named: dict[str, Wanted] = {}
    for step in steps:
        inputs = {
            role: named[source].ref if isinstance(source, str) else source for role, source in step.inputs.items()
        }
        # The content of files, not their place: the same images in another folder are the same artifact.
        with naming(experiment.setting_of(getattr(step.config, "backbone", None))):
            config = held.wanted(step.config, inputs) if isinstance(step.config, ExtractConfig) else step.config
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


def _why(ref: ArtifactRef, older: OlderForms, store: ArtifactStore) -> tuple[Action, str]:
    if store.draft_path(ref).is_dir():
        check_draft(ref, store.draft_path(ref))  # here, not hours later, when the run comes to this step
        return "resume", str(kept_work(store, ref))
    changes = older.changes(ref)
    return ("stale", changes) if changes else ("build", "")
