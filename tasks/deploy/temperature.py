"""The temperature of a finished model: fitted on what it said of the validation images when it was scored. No torch.

No artifact holds it. It follows from an evaluation, whose table of predictions has the logits: so every model that was
ever scored has one, and none is made stale by it.
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.temperatures import UNCHANGED
from taskdistill.tasks.problems.calibrating import confidence_of

FITTED_ON = "val"


def evaluation_of(store: ArtifactStore, model: ArtifactRef) -> ArtifactRef | None:
    """Return the evaluation in which a model was scored: of several that on the images it was trained on, and of those
    the newest. None where the store has none.
    """
    return evaluations_of(store, [model]).get(model)


def evaluations_of(store: ArtifactStore, models: Iterable[ArtifactRef]) -> dict[ArtifactRef, ArtifactRef]:
    """Return the same for several models, those that were never scored left out."""
    by_model: dict[str, list[ArtifactRef]] = {model.fingerprint: [] for model in models}
    for ref, recipe in store.recipes("evaluation"):
        by_model.get(recipe.get("inputs", {}).get("model", ""), []).append(ref)
    return {
        ArtifactRef("model", model): _most_telling(store, ArtifactRef("model", model), found)
        for model, found in by_model.items()
        if found
    }


def _most_telling(store: ArtifactStore, model: ArtifactRef, found: Sequence[ArtifactRef]) -> ArtifactRef:
    images = store.manifest(model).inputs.get("images")
    manifests = {ref: store.manifest(ref) for ref in found}
    return max(found, key=lambda ref: _how_telling(manifests[ref], images))


def _how_telling(manifest: Manifest, images: str | None) -> tuple[bool, bool, str]:
    is_scored = FITTED_ON in manifest.summary.get("scores", {})
    return manifest.inputs.get("images") == images, is_scored, str(manifest.provenance.get("made", ""))


def temperature_of(store: ArtifactStore, model: ArtifactRef) -> float:
    """Return what the outputs of a model are to be divided by; 1 where nothing is known of it."""
    evaluation = evaluation_of(store, model)
    return UNCHANGED if evaluation is None else fitted_in(store, evaluation)


def fitted_in(store: ArtifactStore, evaluation: ArtifactRef) -> float:
    """Return the temperature of what was scored in an evaluation; 1 where it does not tell."""
    return _fitted(problem_of(store, evaluation), store.path(evaluation))


@functools.cache
def _fitted(problem: str, evaluation: Path) -> float:
    found = confidence_of(problem, evaluation, FITTED_ON)
    return UNCHANGED if found is None else found.temperature()


def problem_of(store: ArtifactStore, evaluation: ArtifactRef) -> str:
    return str(store.manifest(evaluation).recipe["config"].get("problem", ""))


def windows_of(store: ArtifactStore, evaluation: ArtifactRef) -> WindowSettings:
    """Return how images were shown to a model that was scored."""
    return WindowSettings.model_validate(store.manifest(evaluation).recipe["config"].get("windows", {}))
