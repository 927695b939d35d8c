"""What a run would do, known before it does anything: have, resume, build, or stale because of which field.

Every fingerprint follows from the settings and the digests of external files, so naming all artifacts needs no work
and no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.base import StageConfig
from configs.data import IngestConfig
from configs.errors import SettingsError
from configs.experiment import Experiment
from flows.pipeline.chain import ModelResult, chain
from flows.pipeline.estimates import Sizes
from flows.pipeline.given_images import check_given_images
from flows.pipeline.staleness import OlderForms, Wanted
from storage.drafts import check_draft
from storage.fingerprint import fingerprint
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from storage.summaries import IngestSummary
from tasks.prechecks.model_files import check_content
from tasks.stage import Stage, content_digests_of

Action = Literal["have", "resume", "build", "stale"]


@dataclass(frozen=True)
class Step:
    """One stage of a run, as planned."""

    name: str
    stage: Stage[Any]
    config: StageConfig
    inputs: Mapping[str, ArtifactRef]
    ref: ArtifactRef
    action: Action
    because: str
    num_bytes: int | None
    """Size of the artifact: as it is, or about what it will be; None where that cannot be said."""


@dataclass(frozen=True)
class Plan:
    """All steps in order, and the evaluations that the final table will show."""

    steps: list[Step]
    results: list[ModelResult]
    datasets: list[IngestSummary]
    """What is known of each dataset of images (`flows.pipeline.dataset_words` says it)."""

    @property
    def is_complete(self) -> bool:
        return all(step.action == "have" for step in self.steps)


def make_plan(experiment: Experiment, store: ArtifactStore, *, synthetic: ArtifactRef | None = None) -> Plan:
    """Name every artifact of a run and say what there is to do; reads image folders only as far as they changed."""
    _check_places(experiment)
    if synthetic:
        check_given_images(experiment, store, synthetic)
    named: dict[str, tuple[Stage[Any], Wanted]] = {}

    def name_it(step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]) -> ArtifactRef:
        recipe = stage.recipe(config, inputs, content_digests_of(config, store))
        ref = ArtifactRef(stage.output, fingerprint(recipe))
        named[step] = (stage, Wanted(ref, recipe, config, inputs))
        return ref

    results = chain(experiment, name_it, synthetic=synthetic)
    older, sizes = OlderForms(store, [wanted for _, wanted in named.values()]), Sizes(experiment, store)
    steps = [_step(name, stage, wanted, older, sizes, store) for name, (stage, wanted) in named.items()]
    ingests = [(step.config, step.ref) for step in steps if isinstance(step.config, IngestConfig)]
    return Plan(steps, results, [sizes.dataset_of(config, ref) for config, ref in ingests])


def _check_places(experiment: Experiment) -> None:
    """Raise SettingsError where a folder or file that is needed does not exist, by the setting that names it."""
    for name, path in experiment.locations().items():
        is_needed = experiment.synthetic_images == "blends" or not name.startswith("generator.")
        if is_needed and not Path(path).expanduser().exists():
            raise SettingsError(f"{name} is {path!r}, which does not exist: set it to what is there")


def _step(name: str, stage: Stage[Any], wanted: Wanted, older: OlderForms, sizes: Sizes, store: ArtifactStore) -> Step:
    ref, config, inputs = wanted.ref, wanted.config, wanted.inputs
    if ref in store:
        return Step(name, stage, config, inputs, ref, "have", "", store.manifest(ref).num_bytes)
    check_content(config)
    action, because = _why(ref, older, store)
    return Step(name, stage, config, inputs, ref, action, because, sizes.estimate(stage, config, inputs, ref))


def _why(ref: ArtifactRef, older: OlderForms, store: ArtifactStore) -> tuple[Action, str]:
    if store.draft_path(ref).is_dir():
        check_draft(ref, store.draft_path(ref))
        return "resume", how_far(store, ref)
    changes = older.changes(ref)
    return ("stale", changes) if changes else ("build", "")


def how_far(store: ArtifactStore, ref: ArtifactRef) -> str:
    """Say where an unfinished artifact is."""
    progress = store.progress(ref)
    return f"at {progress['done']} of {progress['total']} {progress['unit']}" if progress else "from the beginning"
