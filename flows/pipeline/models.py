"""What a finished model is: student or teacher, of which network, preset and seed; told from what is noted of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import validated
from taskdistill.flows.pipeline.chain import CONTROL, STUDENT, student_with
from taskdistill.storage.errors import NotInStoreError
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import ModelSummary
from taskdistill.tasks.catalog import DISTILL
from taskdistill.tasks.deploy.ready import Ready, Wish
from taskdistill.tasks.export.loading import ready_folder

TEACHER = "teacher finetuned"


class ModelFacts(NamedTuple):
    """What tells one model of a store from another; empty or None where it was not noted."""

    role: str
    network: str
    preset: str
    seed: int | None
    temperature: float | None
    """Of distillation, as alpha."""
    alpha: float | None
    images: str
    """How many images it learnt from, synthetic ones counted apart."""


def facts_of(manifest: Manifest) -> ModelFacts:
    """Return them, by the manifest of a model."""
    config, model = manifest.recipe.get("config", {}), ModelSummary.of(manifest)
    distill = config.get("distill", {})
    synthetic = f" + {model.synthetic_images}" if model.synthetic_images else ""
    return ModelFacts(
        role=_role(manifest),
        network=str(config.get("backbone", {}).get("name", "")),
        preset=str(manifest.provenance.get("settings", {}).get("name", "")),
        seed=config.get("seed"),
        temperature=distill.get("temperature") if model.temperature is None else model.temperature,
        alpha=distill.get("alpha") if model.alpha is None else model.alpha,
        images=f"{model.images}{synthetic}" if model.images else "",
    )


def role_of(ref: ArtifactRef, manifest: Manifest | None) -> str:
    """Return what an artifact is for: of a model its role and network, of others the stage that made them."""
    if manifest is None:
        return "of unknown origin"
    if ref.kind != "model":
        return str(manifest.recipe.get("stage", "of unknown origin"))
    facts = facts_of(manifest)
    return f"{facts.role}, {facts.network}" if facts.network else facts.role


def distilled_student(manifest: Manifest) -> str:
    """Return what a model that was distilled is called in tables."""
    settings: Mapping[str, Any] = manifest.provenance.get("settings", {})
    return student_with(settings.get("synthetic_images", "none")) if "synthetic" in manifest.inputs else STUDENT


def _role(manifest: Manifest) -> str:
    if manifest.recipe.get("stage") == DISTILL.name:
        return distilled_student(manifest)
    return TEACHER if _is_teacher(manifest) else CONTROL


def _is_teacher(manifest: Manifest) -> bool:
    """Whether it was finetuned in order to teach: with the settings that its experiment has for its teacher."""
    settings: Mapping[str, Any] = manifest.provenance.get("settings", {})
    if settings.get("teacher_training") != "finetuned":
        return False
    config = manifest.recipe.get("config", {})
    try:
        experiment: Experiment = validated(settings, "the settings noted in a manifest")
    except SettingsError:  # of another version: the network tells, where teacher and student are different ones
        return bool(config.get("backbone", {}).get("name") == settings.get("teacher", {}).get("name"))
    of_teacher, of_student = experiment.finetune_teacher_config(), experiment.finetune_config(experiment.seeds[0])
    if of_teacher.backbone != of_student.backbone:
        return bool(config.get("backbone") == of_teacher.backbone.identity())
    return bool(config == of_teacher.identity())


def resolved_model(store: ArtifactStore, text: str) -> ArtifactRef:
    """Return the model that a label or reference names; NotInStoreError, which says where there is one, if it names
    something else.
    """
    ref = store.resolve(text)
    if ref.kind == "model":
        return ref
    inputs = store.manifest(ref).input_refs
    if ref.kind == "evaluation" and "model" in inputs:
        hint = f"the model that it scored is {inputs['model'].short}"
    elif ref.kind == "probe":
        hint = "a probe is a head alone; the students that start from it are among 'taskdistill list model'"
    else:
        hint = "'taskdistill list model' shows those that there are"
    raise NotInStoreError(f"{text!r} is {_article(ref.kind)} {ref.kind}, but a model is needed here: {hint}")


def ready_model(store: ArtifactStore, name: str | Path, wish: Wish) -> tuple[Ready, list[str]]:
    """Look up what is to predict: the model that a label or reference names, or an exported folder. Returns it with
    what one should know of it.

    A label goes before a folder of the same name, which is then named by a path, such as ./birds. Raises
    NotInStoreError where it means neither, and as `Ready.of` and `ready_folder` do.
    """
    folder = Path(name).expanduser()
    is_path = isinstance(name, Path) or "/" in name
    if is_path and folder.is_dir():
        return ready_folder(folder, wish), []
    if is_path:
        raise NotInStoreError(f"there is no folder {folder}: name a folder that 'taskdistill export' wrote, or a model")
    try:
        model = resolved_model(store, str(name))
    except NotInStoreError:
        if not folder.is_dir():
            raise
        return ready_folder(folder, wish), []
    return Ready.of(store, model, wish), remark_on(store, model)


def remark_on(store: ArtifactStore, model: ArtifactRef) -> list[str]:
    """Return a sentence where a model is not what one would ship; none for a student."""
    facts = facts_of(store.manifest(model))
    if facts.role != TEACHER:
        return []
    return [f"{model.short} is the finetuned teacher ({facts.network}), no student: see 'taskdistill list model'"]


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
