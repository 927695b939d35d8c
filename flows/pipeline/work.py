"""How much each step of a plan has to compute, and about how long that takes where the store tells: views that a
frozen encoder is shown, optimiser steps, images.

What tells is a finished artifact of the same stage and the same network, made on this computer without a break: how
long it took until it reported its first unit of work, and how long for the units after it.
"""

import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import Pace, PaceSummary
from taskdistill.tasks.pace import taken
from taskdistill.tasks.sizes import Shown

_OF_A_STEP = ("batch_size", "accumulate", "precision", "inputs", "learning_rates")
"""Settings of a training or a probe that decide what one of its steps costs."""


class Work(NamedTuple):
    """What a step has to compute; nothing where its artifact is there."""

    shown: tuple[Shown, ...] = ()
    """What a frozen encoder is shown; empty where none runs."""
    num_steps: int = 0
    """Optimiser steps."""
    seconds: float | None = 0.0
    """About how long it takes; None where no artifact tells."""

    @property
    def words(self) -> str:
        """Such as "360 x 8 + 236 views, ~2 min": images times views, then those that are shown in one view alone."""
        steps = f"{self.num_steps:,} steps" if self.num_steps else ""
        parts = (f"{images:,} x {views:,}" if views > 1 else f"{images:,}" for images, views in self.shown)
        views = f"{' + '.join(parts)} views" if self.shown else ""
        time = f"~{taken(self.seconds)}" if self.seconds else ""
        return ", ".join(said for said in (steps, views, time) if said)


def works(steps: Sequence[PlannedStep], store: ArtifactStore, device: str) -> dict[str, Work]:
    """Return what each step of a plan has to compute, by its name; `device` is where it will run (`runtime.device`)."""
    paces = _Paces(steps, store, device)
    return {
        step.name: Work() if step.action == "have" else Work(step.shown, step.num_steps, paces.seconds(step))
        for step in steps
    }


class _Told(NamedTuple):
    """How long an artifact took, and for how much of each unit."""

    seconds: float
    paces: Mapping[str, Pace]


class _Paces:
    """Looks up how long stages took."""

    def __init__(self, steps: Sequence[PlannedStep], store: ArtifactStore, device: str) -> None:
        self._steps, self._store, self._device = steps, store, device

    def seconds(self, step: PlannedStep) -> float | None:
        """Return how long a step takes by what the largest artifact that compares says: what a small one took is
        mostly the beginning.
        """
        config, inputs = step.config.identity(), {role: ref.fingerprint for role, ref in step.inputs.items()}
        wanted = self._alike({"stage": step.stage.name, "config": config, "inputs": inputs})
        alike = (ref for ref, recipe in self._store.recipes(step.ref.kind) if self._alike(recipe) == wanted)
        found = [told for ref in alike if (told := self._told(ref)) and told.paces.keys() <= step.units.keys()]
        largest = max(found, key=lambda told: sum(pace.units for pace in told.paces.values()), default=None)
        return _extrapolated(largest, step.units) if largest else None

    def _told(self, ref: ArtifactRef) -> _Told | None:
        try:
            manifest = self._store.manifest(ref)
            summary = PaceSummary.of(manifest)
        except (CorruptArtifactError, NewerFormatError, NotInStoreError):  # of no matter to what is to be made
            return None
        # A store may be shared by computers with and without a GPU.
        is_here = manifest.provenance.get("host") == platform.node() and summary.device == self._device
        return _Told(summary.seconds, summary.pace) if is_here and summary.pace is not None else None

    def _alike(self, recipe: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what decides how fast the units of a recipe go by: stage, network, precision, images in a step, and
        what it reads.
        """
        config, inputs = recipe["config"], recipe["inputs"]
        training = config.get("training") or config.get("probe") or {}
        per_step = [training.get(name) for name in _OF_A_STEP]
        own = config.get("backbone") or config.get("model")
        network = own or next((found for ref in inputs.values() if (found := self._backbones.get(ref))), None)
        return recipe["stage"], network, config.get("precision"), per_step, sorted(inputs)

    @cached_property
    def _backbones(self) -> dict[str, Any]:
        """Backbones of what comes from a network, there or planned, by fingerprints: not every recipe says its own."""
        there = {
            ref.fingerprint: recipe["config"].get("backbone")
            for kind in ("model", "features")
            for ref, recipe in self._store.recipes(kind)
        }
        planned = {step.ref.fingerprint: step.config.identity().get("backbone") for step in self._steps}
        return there | planned


def _extrapolated(told: _Told, units: Mapping[str, int]) -> float:
    """Return the seconds of so many units: the beginning and the end take as long whatever their number."""
    rest = told.seconds - sum(pace.seconds for pace in told.paces.values())
    return rest + sum(pace.seconds / pace.units * units[unit] for unit, pace in told.paces.items())
