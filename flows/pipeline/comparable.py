"""Models that somebody names, to be compared: their evaluations, and whether these can be compared at all."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.pipeline.models import facts_of
from taskdistill.storage.errors import NotInStoreError, StoreError
from taskdistill.storage.fingerprint import canonical_json
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import has_column, read_column
from taskdistill.tasks.catalog import COMBINE, PRECOMPUTE_FOREIGN
from taskdistill.tasks.deploy.temperature import evaluation_of, problem_of


class Judged(NamedTuple):
    """One model, by the evaluations of its seeds."""

    name: str
    """As it was asked for."""
    what: str
    """Such as "student distilled"."""
    evaluations: tuple[ArtifactRef, ...]

    @property
    def heading(self) -> str:
        return f"{self.what} ({self.name})" if self.what else self.name


def judged(store: ArtifactStore, names: Sequence[str]) -> list[Judged]:
    """Look up models by their labels or references, or by those of their evaluations; of several seeds of one model the
    names are joined by commas.

    Raises NotInStoreError where a name means neither, or a model that was never scored, and SettingsError where one is
    named twice or those that are joined are no seeds of one model.
    """
    found = []
    for name in names:
        seeds = [one for one in name.split(",") if one]
        refs = [_evaluation(store, one) for one in seeds]
        if not refs or len(set(refs)) < len(refs):
            raise SettingsError(f"{name!r} names no model, or one of them twice: join the seeds of one model by commas")
        _check_seeds_of_one(store, dict(zip(seeds, refs, strict=True)))
        roles = dict.fromkeys(what_was_scored(store, ref) for ref in refs)
        found.append(Judged(name, " and ".join(filter(None, roles)), tuple(refs)))
    return found


def check_comparable(store: ArtifactStore, models: Sequence[Judged], split: str) -> None:
    """Raise SettingsError where models were not scored on the same images, for the same classes and by the same metric;
    it says which and why.
    """
    first = models[0].evaluations[0]
    for ref in (ref for model in models for ref in model.evaluations):
        summary = EvaluationSummary.of(store.manifest(ref))
        table = store.path(ref) / f"{split}-predictions.parquet"
        if split not in summary.scores or not has_column(table, "score"):
            scored = ", ".join(summary.scores) or "nothing"
            raise SettingsError(
                f"{ref.short} has no score of each image of {split} (scored: {scored}): evaluate it again"
            )
        if problem_of(store, ref) != problem_of(store, first):
            raise SettingsError(
                f"{ref.short} is of the problem {problem_of(store, ref)!r}, {first.short} of "
                f"{problem_of(store, first)!r}: only models that learn the same can be compared"
            )
        if why := _other_images(store, first, ref, split):
            raise SettingsError(f"{ref.short} and {first.short} cannot be compared on {split}: {why}")


def _check_seeds_of_one(store: ArtifactStore, seeds: Mapping[str, ArtifactRef]) -> None:
    """Raise SettingsError where models differ in more than the seed: their mean would be that of no model."""
    models = {name: model for name, ref in seeds.items() if (model := _scored_model(store, ref))}
    kinds = {but_for_its_seed(model): name for name, model in models.items()}
    if len(kinds) > 1:
        first, other, *_ = kinds.values()
        raise SettingsError(
            f"{first} and {other} differ in more than the seed, so they are no seeds of one model. Commas join seeds; "
            "put spaces between models that are to be compared"
        )


def _scored_model(store: ArtifactStore, evaluation: ArtifactRef) -> Manifest | None:
    """Return the manifest of the model that was scored; None where it was none, or is gone."""
    manifest = store.manifest(evaluation)
    return _known(store, manifest, "model") if "model" in manifest.inputs else None


def but_for_its_seed(model: Manifest) -> str:
    """Return what all seeds of one model have in common, as text."""
    config = {name: value for name, value in model.recipe["config"].items() if name != "seed"}
    return canonical_json([model.recipe["stage"], config, model.recipe["inputs"]])


def _evaluation(store: ArtifactStore, name: str) -> ArtifactRef:
    ref = store.resolve(name)
    if ref.kind == "evaluation":
        return ref
    if ref.kind != "model":
        raise NotInStoreError(
            f"{name!r} is {ref.short}: name a model, or an evaluation such as that of a teacher or a probe, as "
            "'taskdistill list evaluation' has them"
        )
    if (found := evaluation_of(store, ref)) is None:
        raise NotInStoreError(f"{ref.short} was never scored: run its experiment's stage 'evaluate' first")
    return found


def what_was_scored(store: ArtifactStore, evaluation: ArtifactRef) -> str:
    """Say what was scored; "" where what tells it has left the store, or cannot be read."""
    manifest = store.manifest(evaluation)
    # Of a cached model its logits were scored, and they are made from it.
    scored = _known(store, manifest, "logits") if "logits" in manifest.inputs else manifest
    if scored is None:
        return ""
    if "model" in scored.inputs:
        model = _known(store, scored, "model")
        return facts_of(model).role if model else ""
    if "probe" in scored.inputs:
        encoded = _known(store, scored, "features") if "features" in scored.inputs else scored
        network = encoded.recipe.get("config", {}).get("backbone", {}).get("name", "") if encoded else ""
        return f"{network} probed".strip()
    return _OF_OTHERS.get(scored.recipe.get("stage", ""), "")


_OF_OTHERS = {COMBINE.name: "the mean of teachers", PRECOMPUTE_FOREIGN.name: "a teacher trained elsewhere"}


def _known(store: ArtifactStore, manifest: Manifest, role: str) -> Manifest | None:
    """Return the manifest of an input; None where it is gone or cannot be read: a name does without."""
    try:
        return store.manifest(manifest.input_refs[role])
    except StoreError:
        return None


def _other_images(store: ArtifactStore, first: ArtifactRef, other: ArtifactRef, split: str) -> str:
    """Say how the images of a split differ between two evaluations; "" where they are the same."""
    sets = [store.manifest(ref).input_refs["images"] for ref in (first, other)]
    if sets[0] == sets[1]:
        return ""
    tables = [store.path(ref) / f"{split}-predictions.parquet" for ref in (first, other)]
    ids, others = ([*map(str, read_column(table, "id"))] for table in tables)
    if ids != others:
        only = sorted(set(ids) ^ set(others))
        return f"they were scored on other images ({len(only)} are of one alone, such as {(only or ids)[0]!r})"
    opened = [ImageSet(store.path(ref)) for ref in sets]
    if opened[0].classes != opened[1].classes:
        return f"one is of {len(opened[0].classes)} classes, the other of {len(opened[1].classes)}, or in another order"
    rows = [dict(zip(images.ids, range(len(images)), strict=True)) for images in opened]
    # Names alone prove nothing: a picture may have been replaced, or its label put right, from one to the other.
    changed = [name for name in ids if _bytes_of(opened[0], rows[0][name]) != _bytes_of(opened[1], rows[1][name])]
    if not changed:
        return ""
    return f"{len(changed)} of the images have changed, or have other labels, such as {changed[0]!r}"


def _bytes_of(images: ImageSet, row: int) -> tuple[bytes, int, bytes | None]:
    return images.image(row), int(images.labels[row]), images.mask(row)
