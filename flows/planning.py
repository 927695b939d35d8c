"""What a run would do, known before it does anything: have, resume, build, or stale because of which field.

Every fingerprint follows from the settings and the digests of external files, so naming all artifacts needs no work
and no torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from configs.base import StageConfig
from configs.experiment import Experiment
from flows.chain import Evaluated, chain
from flows.estimates import Sizes
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.stage import Stage, external_digests

Action = Literal["have", "resume", "build", "stale"]
Flat = dict[str, Any]
"""A recipe by dotted names, such as config.seed."""


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
    results: list[Evaluated]

    @property
    def is_complete(self) -> bool:
        return all(step.action == "have" for step in self.steps)


def make_plan(experiment: Experiment, store: ArtifactStore, *, synthetic: ArtifactRef | None = None) -> Plan:
    """Name every artifact of a run and say what there is to do; reads image folders only as far as they changed."""
    steps: list[Step] = []
    recipes: dict[str, list[Flat]] = {}
    sizes = Sizes(experiment, store)

    def name_it(step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]) -> ArtifactRef:
        external = external_digests(config, store)
        ref = stage.reference(config, inputs, external)
        if ref in store:
            action: Action = "have"
            because = ""
            num_bytes: int | None = store.manifest(ref).num_bytes
        else:
            action, because = _why(stage.recipe(config, inputs, external), ref, store, recipes)
            stale = {made.ref for made in steps if made.action == "stale"}
            if action == "build" and (roles := [role for role, source in inputs.items() if source in stale]):
                action, because = "stale", f"its input {', '.join(roles)} changed"
            num_bytes = sizes.estimate(stage, config, inputs, ref)
        steps.append(Step(step, stage, config, inputs, ref, action, because, num_bytes))
        return ref

    results = chain(experiment, name_it, synthetic=synthetic)
    return Plan(steps, results)


def _why(
    recipe: dict[str, Any], ref: ArtifactRef, store: ArtifactStore, recipes: dict[str, list[Flat]]
) -> tuple[Action, str]:
    if progress := store.progress(ref):
        return "resume", f"at {progress['done']} of {progress['total']} {progress['unit']}"
    if store.draft_path(ref).is_dir():
        return "resume", "from the beginning"
    if ref.kind not in recipes:
        # Read and flattened once, not for each step: most of the time in a store of thousands of artifacts.
        recipes[ref.kind] = [dict(_flat(made)) for made in store.recipes(ref.kind)]
    wanted = dict(_flat(recipe))
    alike = [
        other
        for other in recipes[ref.kind]
        if all(other.get(name) == wanted.get(name) for name in _SAME) and _roles(other) == _roles(wanted)
    ]
    changes = [change for other in alike if (change := _differences(other, wanted))]
    if not changes:
        return "build", ""
    return "stale", "; ".join(_said(*change) for change in min(changes, key=len)[:3])


_SAME = ("stage", "config.seed", "config.backbone.name", "inputs.model", "inputs.images")
"""Another seed, another backbone or other roles of inputs make another artifact, not a newer form of this one."""


def _roles(recipe: Flat) -> set[str]:
    return {name for name in recipe if name.startswith("inputs.")}


def _said(name: str, old: Any, new: Any) -> str:
    if name.startswith("inputs."):
        return f"its input {name.removeprefix('inputs.')} changed"
    if name.startswith("external."):
        return f"the content of {name.removeprefix('external.')} changed"
    return f"{name.removeprefix('config.')} changed from {old} to {new}"


def _differences(before: Flat, after: Flat) -> list[tuple[str, Any, Any]]:
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return [(name, before.get(name, "nothing"), after.get(name, "nothing")) for name in sorted(names)]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", tuple(item) if isinstance(item, list) else item
