"""How much each step of a plan has to compute: views that a frozen encoder is shown, about how many minutes these take
where the store tells, and optimiser steps.

What tells is a finished artifact of the same stage and the same network, made on this computer: how many views its last
attempt showed, and in how many seconds, the loading of weights included.
"""

import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EncoderSummary
from taskdistill.tasks.sizes import Shown, num_shown


class Work(NamedTuple):
    """What a step has to compute; nothing where its artifact is there."""

    shown: tuple[Shown, ...] = ()
    """What a frozen encoder is shown; empty where none runs."""
    num_steps: int = 0
    """Optimiser steps."""
    minutes: float | None = None
    """About how long the encoder takes; None where no artifact tells."""

    @property
    def words(self) -> str:
        """Such as "360 x 8 + 236 views, ~2 min": images times views, then those that are shown in one view alone."""
        steps = f"{self.num_steps:,} steps" if self.num_steps else ""
        parts = (f"{images:,} x {views:,}" if views > 1 else f"{images:,}" for images, views in self.shown)
        views = f"{' + '.join(parts)} views" if self.shown else ""
        return ", ".join(said for said in (steps, views, _time(self.minutes)) if said)


def works(steps: Sequence[PlannedStep], store: ArtifactStore) -> dict[str, Work]:
    """Return what each step of a plan has to compute, by its name."""
    speeds = _Speeds(steps, store)
    found = {step.name: Work() for step in steps}
    for step in steps:
        if step.action != "have":
            minutes = num_shown(step.shown) * seconds / 60 if (seconds := speeds.seconds_per_view(step)) else None
            found[step.name] = Work(step.shown, step.num_steps, minutes)
    return found


def _time(minutes: float | None) -> str:
    if minutes is None:
        return ""
    return "<1 min" if minutes < 1 else f"~{minutes:.0f} min" if minutes < 120 else f"~{minutes / 60:.0f} h"


class _Speeds:
    """Looks up how long frozen encoders took for a view."""

    def __init__(self, steps: Sequence[PlannedStep], store: ArtifactStore) -> None:
        self._steps, self._store = steps, store

    def seconds_per_view(self, step: PlannedStep) -> float | None:
        """Return what the largest artifact that compares says: of small ones most is the loading of weights."""
        if not step.shown:
            return None
        config, inputs = step.config.identity(), {role: ref.fingerprint for role, ref in step.inputs.items()}
        wanted = self._network({"stage": step.stage.name, "config": config, "inputs": inputs})
        alike = (ref for ref, recipe in self._store.recipes(step.ref.kind) if self._network(recipe) == wanted)
        told = [found for ref in alike if (found := self._told(ref))]
        largest = max(told, key=lambda summary: summary.encoder_forwards, default=None)
        return largest.seconds / largest.encoder_forwards if largest else None

    def _told(self, ref: ArtifactRef) -> EncoderSummary | None:
        try:
            manifest = self._store.manifest(ref)
        except (CorruptArtifactError, NewerFormatError, NotInStoreError):  # of no matter to what is to be made
            return None
        # A store may be shared by computers with and without a GPU.
        if manifest.provenance.get("host") != platform.node():
            return None
        summary = EncoderSummary.of(manifest)
        return summary if summary.encoder_forwards and summary.seconds else None

    def _network(self, recipe: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what decides how fast the views of a recipe go by: stage, network and precision."""
        config = recipe["config"]
        own = config.get("backbone") or config.get("model")
        return recipe["stage"], own or self._backbones.get(recipe["inputs"].get("model", "")), config.get("precision")

    @cached_property
    def _backbones(self) -> dict[str, Any]:
        """Backbones of models, there or planned, by their fingerprints: recipes of their logits do not say."""
        there = {ref.fingerprint: recipe["config"].get("backbone") for ref, recipe in self._store.recipes("model")}
        planned = {step.ref.fingerprint: step.config.identity().get("backbone") for step in self._steps}
        return there | planned
