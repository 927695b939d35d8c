"""What a finished model was made from: its networks with their licences, and the models to compare it with."""

from collections.abc import Iterator, Mapping
from typing import Any

from taskdistill.flows.pipeline.chain import CONTROL, START, ModelResult
from taskdistill.flows.pipeline.models import TEACHER as FINETUNED_TEACHER
from taskdistill.flows.pipeline.models import facts_of
from taskdistill.storage.errors import StoreError
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.deploy.temperature import evaluation_of
from taskdistill.tasks.models.licences import Licence, of_backbone, of_generator

TEACHER = "teacher"
_SAME_START = ("images", "probe")


def licences_of(store: ArtifactStore, ref: ArtifactRef) -> list[Licence]:
    """Return the licence of each network that had a part in a model: itself, its teachers, and what painted images."""
    manifest = store.manifest(ref)
    settings = manifest.provenance.get("settings", {})
    own = manifest.recipe["config"].get("backbone", {})
    found = [of_backbone("student", own, _file(settings, "student"))]
    for above in _ancestors(store, ref):
        config = above.recipe.get("config", {})
        backbone = config.get("backbone")
        if backbone and backbone != own:
            found.append(of_backbone(TEACHER, backbone, _file(settings, TEACHER)))
        elif "foreign" in str(above.recipe.get("stage", "")):
            found.append(Licence(TEACHER, "a network that was trained elsewhere", ""))
        elif above.recipe.get("stage") == "generate":
            found.append(of_generator(str(settings.get("generator", {}).get("folder", ""))))
    return list(dict.fromkeys(found))


def _file(settings: Mapping[str, Any], section: str) -> str:
    return str(settings.get(section, {}).get("file", ""))


def _ancestors(store: ArtifactStore, ref: ArtifactRef) -> Iterator[Manifest]:
    """Yield the manifest of everything that a model was made from, as far as the store still has it."""
    waiting, seen = list(store.manifest(ref).input_refs.values()), set[ArtifactRef]()
    while waiting:
        current = waiting.pop(0)
        if current not in seen and current in store:
            seen.add(current)
            manifest = store.manifest(current)
            waiting += manifest.input_refs.values()
            yield manifest


def compared_with(store: ArtifactStore, ref: ArtifactRef) -> list[ModelResult]:
    """Return the evaluation of a model, that of its temperature, and those that stand beside it in the table of its
    run: of its teacher, what it started from, and its control. Those that the store does not have are left out.
    """
    model = store.manifest(ref)
    seed = model.recipe["config"].get("seed", 0)
    own = facts_of(model).role if model.recipe["stage"] in ("distill", "finetune") else "this model"
    evaluation, control = evaluation_of(store, ref), _control(store, model)
    if not evaluation:
        return []
    found = [ModelResult(own, None if own == FINETUNED_TEACHER else seed, evaluation, ref)]
    for manifest in _evaluations(store):
        if logits := _of(manifest, "logits"):
            probe = store.manifest(logits).input_refs.get("probe") if logits in store else None
            if logits == model.input_refs.get("logits"):
                found.append(ModelResult(TEACHER, None, manifest.ref, logits))
            elif probe and probe == model.input_refs.get("probe"):
                found.append(ModelResult(START, None, manifest.ref, probe))
    if control and control != ref and (of_control := evaluation_of(store, control)):
        found.append(ModelResult(CONTROL, seed, of_control, control))
    unique = {result.model: result for result in found[::-1]}  # one of each; of several the first
    order = [TEACHER, START, CONTROL, own]
    return [found[0], *(unique[name] for name in order if name in unique and name != own)]


def _control(store: ArtifactStore, model: Manifest) -> ArtifactRef | None:
    """Return the model that was finetuned from the same start and seed, the one whose settings are most alike."""
    config, inputs = model.recipe["config"], model.input_refs
    alike: dict[ArtifactRef, int] = {}
    for ref, recipe in store.recipes("model"):
        if recipe.get("stage") != "finetune" or recipe["config"].get("seed", 0) != config.get("seed", 0):
            continue
        theirs = store.manifest(ref).input_refs
        if all(theirs.get(role) == inputs.get(role) for role in _SAME_START):
            alike[ref] = sum(recipe["config"].get(name) == value for name, value in config.items())
    return max(alike, key=lambda ref: alike[ref]) if alike else None


def _evaluations(store: ArtifactStore) -> Iterator[Manifest]:
    for ref in store.references("evaluation"):
        try:
            yield store.manifest(ref)
        except StoreError:  # damaged, or a newer version's: a card does without
            continue


def _of(manifest: Manifest, role: str) -> ArtifactRef | None:
    return manifest.input_refs.get(role)
