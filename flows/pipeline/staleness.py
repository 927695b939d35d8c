"""Which artifact of a store is an older form of one that is to be made, and what has changed since.

An older form was made by the same stage, for the same seed and the same backbone, from the same inputs or older forms
of them; of a dataset, from the same folder or the same files. What has no older form is new, not stale: another seed,
another dataset, the logits of blends where only those of photographs are there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

Flat = dict[str, Any]
"""A recipe by dotted names, such as config.seed."""

_SAME = ("stage", "config.seed", "config.backbone.name")
_MAX_CHANGES = 3


class Wanted(NamedTuple):
    """An artifact of a plan."""

    ref: ArtifactRef
    recipe: Mapping[str, Any]
    config: StageConfig
    inputs: Mapping[str, ArtifactRef]


class OlderForms:
    """Looks up the older forms of the artifacts of one plan, each when it is asked for."""

    def __init__(self, store: ArtifactStore, wanted: Sequence[Wanted]) -> None:
        self._store = store
        self._wanted = {one.ref: one for one in wanted}
        self._recipes: dict[str, list[tuple[ArtifactRef, Flat]]] = {}
        self._found: dict[ArtifactRef, list[tuple[ArtifactRef, Flat]]] = {}

    def changes(self, ref: ArtifactRef) -> str:
        """Say what has changed since the nearest older form; "" where there is none."""
        if not (older := self._of(ref)):
            return ""
        new = dict(_flat(self._wanted[ref].recipe))
        # Of several older forms the one that differs least: the user has most likely changed something since that one.
        names = min((_different(old, new) for _, old in older), key=len)
        old = next(old for _, old in older if _different(old, new) == names)
        changes = [_change(name, old, new) for name in names if not name.startswith("inputs.")]
        if roles := [name.removeprefix("inputs.") for name in names if name.startswith("inputs.")]:
            changes.append(f"its input {', '.join(roles)} changed")
        return "; ".join(changes[:_MAX_CHANGES])

    def _of(self, ref: ArtifactRef) -> list[tuple[ArtifactRef, Flat]]:
        if ref not in self._wanted:  # an artifact that was given, such as an image-set by its label
            return []
        if ref not in self._found:
            one = self._wanted[ref]
            new = dict(_flat(one.recipe))
            # What this very plan wants elsewhere is no older form: two networks may be of one architecture.
            others = [(other, old) for other, old in self._recipes_of(ref.kind) if other not in self._wanted]
            self._found[ref] = [(other, old) for other, old in others if self._is_older(other, old, one, new)]
        return self._found[ref]

    def _is_older(self, other: ArtifactRef, old: Flat, one: Wanted, new: Flat) -> bool:
        if any(old.get(name) != new.get(name) for name in _SAME) or _roles(old) != _roles(new):
            return False
        if isinstance(one.config, IngestConfig):
            return _externals(old) == _externals(new) or self._is_from(other, one.config.path)
        return all(
            old[f"inputs.{role}"] in {source.fingerprint, *(older.fingerprint for older, _ in self._of(source))}
            for role, source in one.inputs.items()
        )

    def _is_from(self, images: ArtifactRef, path: str) -> bool:
        """Whether an image-set was made from this folder, as far as the run that made it has noted that."""
        try:
            settings = self._store.manifest(images).provenance.get("settings", {})
        except (CorruptArtifactError, NewerFormatError, NotInStoreError):  # of no matter to what is to be made
            return False
        made_from = settings.get("data", {}).get("path")
        return bool(made_from) and _absolute(made_from) == _absolute(path)

    def _recipes_of(self, kind: str) -> list[tuple[ArtifactRef, Flat]]:
        if kind not in self._recipes:
            # Read and flattened once, not for each step: most of the time in a store of thousands of artifacts.
            self._recipes[kind] = [(ref, dict(_flat(recipe))) for ref, recipe in self._store.recipes(kind)]
        return self._recipes[kind]


def _absolute(path: str) -> Path:
    return Path(path).expanduser().resolve()


def _roles(recipe: Flat) -> set[str]:
    return {name for name in recipe if name.startswith("inputs.")}


def _externals(recipe: Flat) -> Flat:
    return {name: value for name, value in recipe.items() if name.startswith("external.")}


def _different(before: Flat, after: Flat) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _change(name: str, old: Flat, new: Flat) -> str:
    if name.startswith("external."):
        return f"the content of {name.removeprefix('external.')} changed"
    before, after = (_written(recipe.get(name, "nothing")) for recipe in (old, new))
    return f"{name.removeprefix('config.')} changed from {before} to {after}"


def _written(value: Any) -> str:
    """Return a value as people set it: a list in brackets, which a recipe and a plan hold as one or as a tuple."""
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, list | tuple) else str(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", tuple(item) if isinstance(item, list) else item
