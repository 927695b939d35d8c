"""How much each step of a plan has to compute, and about how long that takes where the store tells: views that a
frozen encoder is shown, optimiser steps, images.

What tells is a finished artifact of the same stage and the same network, made on this computer without a break, for a
run or to measure it (`flows.pipeline.calibration`): how long it took until it reported its first unit of work, and how
long for the units after it.
"""

import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.flows.pipeline.measured import measured_in
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import NotedPace, PaceSummary
from taskdistill.tasks.pace import taken
from taskdistill.tasks.sizes import Shown

_OF_A_STEP = ("batch_size", "accumulate", "precision", "inputs", "learning_rates")
"""Settings of a training or a probe that decide what one of its steps costs."""
_OF_A_STAGE = ("problem", "precision", "windows")
_OF_NETWORKS = ("model", "features", "logits", "probe")
"""Kinds of artifacts whose recipes may name a network."""
_TRIED = {"tune-finetune": "finetune", "tune-distill": "distill"}
"""Searches, and what each of their trials is."""


class Work(NamedTuple):
    """What a step has to compute; nothing where its artifact is there."""

    shown: tuple[Shown, ...] = ()
    """What a frozen encoder is shown; empty where none runs."""
    num_steps: int = 0
    """Optimiser steps."""
    seconds: float | None = 0.0
    """About how long it takes; None where no artifact tells."""
    is_by_other_images: bool = False
    """Whether what tells was made of other images than the step reads: larger ones take longer."""

    @property
    def words(self) -> str:
        """Such as "360 x 8 + 236 views, ~2 min": images times views, then those that are shown in one view alone."""
        steps = f"{self.num_steps:,} step{'' if self.num_steps == 1 else 's'}" if self.num_steps else ""
        parts = (f"{images:,} x {views:,}" if views > 1 else f"{images:,}" for images, views in self.shown)
        views = f"{' + '.join(parts)} views" if self.shown else ""
        time = f"~{taken(self.seconds)}" if self.seconds else ""
        return ", ".join(said for said in (steps, views, time) if said)


def works(steps: Sequence[PlannedStep], store: ArtifactStore, runtime: RuntimeConfig) -> dict[str, Work]:
    """Return what each step of a plan has to compute, by its name; `runtime` is how it will run."""
    paces = _Paces(steps, store, runtime)
    found = {step.name: Work() for step in steps}
    makers: dict[ArtifactRef, str] = {}
    for step in steps:
        if step.action != "have":
            # Of two steps that make the same artifact the second finds it.
            is_first = makers.setdefault(step.ref, step.name) == step.name
            found[step.name] = paces.forecast(step) if is_first else Work(step.shown, step.num_steps)
    return found


_Pictures = tuple[str, ...]
"""What tells the pictures of an image-set from others: not how many of them it has."""


class _Told(NamedTuple):
    """How long an artifact took, for how much of each unit, and how many of its inputs the step has too."""

    is_by_same: bool
    """Made by as many threads, ranks and workers, as far as it says."""
    seconds: float
    paces: Mapping[str, NotedPace]
    inputs: frozenset[str]
    """Fingerprints of what it was made from."""
    pictures: frozenset[_Pictures]
    """Those that it was made from, or is of."""
    images: str = ""
    """Fingerprint of the image-set that it was measured for."""
    is_of_these: bool = False
    """Whether it has all the pictures of the step."""
    num_same: int = 0

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """Rather of the same images than of more, where some were measured for these: what a small artifact took is
        mostly the beginning.
        """
        return self.is_by_same, self.is_of_these, self.num_same, sum(pace.units for pace in self.paces.values())

    def extrapolated(self, units: Mapping[str, int]) -> float:
        """Return the seconds of so many units: the beginning and the end take as long whatever their number."""
        rest = max(0.0, self.seconds - sum(pace.seconds for pace in self.paces.values()))
        return rest + sum(pace.seconds / pace.units * units[unit] for unit, pace in self.paces.items())


class _Paces:
    """Looks up how long stages took."""

    def __init__(self, steps: Sequence[PlannedStep], store: ArtifactStore, runtime: RuntimeConfig) -> None:
        self._steps, self._store, self._runtime = steps, store, runtime
        self._measured = measured_in(store, runtime)
        self._image_sets = {step.ref.fingerprint for step in steps if step.ref.kind == "image-set"}
        self._recipes: dict[str, list[tuple[ArtifactRef, dict[str, Any]]]] = {}
        self._known: dict[ArtifactRef, _Told | None] = {}

    def forecast(self, step: PlannedStep) -> Work:
        """Return what a step has to compute, and how long what is left takes by the artifact that compares best."""
        found = self._like(step, step.stage.name, step.ref.kind)
        if not found and (training := _TRIED.get(step.stage.name)):
            found = self._like(step, training, "model")
        fitting = [told for told in found if told.paces.keys() <= step.units.keys()]
        best = max(fitting, key=lambda told: told.rank, default=None)
        if best is None:
            return Work(step.shown, step.num_steps, None)
        return Work(step.shown, step.num_steps, best.extrapolated(self._left(step)), not best.is_of_these)

    def _like(self, step: PlannedStep, stage: str, kind: str) -> list[_Told]:
        """Return what artifacts of a kind tell that a stage made as it would make this one."""
        config, inputs = step.config.identity(), {role: ref.fingerprint for role, ref in step.inputs.items()}
        wanted = self._alike({"stage": stage, "config": config, "inputs": inputs})
        return [
            told
            for ref, recipe in self._recipes_of(kind)
            if self._alike(recipe) == wanted and (told := self._told_to(ref, step))
        ]

    def _left(self, step: PlannedStep) -> Mapping[str, int]:
        """Return how much of each unit is still to be done."""
        if step.action != "resume":
            return step.units
        kept = kept_work(self._store, step.ref)
        done = {kept.unit: kept.done}
        return {unit: max(0, number - done.get(unit, 0)) for unit, number in step.units.items()}

    def _told_to(self, ref: ArtifactRef, step: PlannedStep) -> _Told | None:
        if ref not in self._known:  # read once for all steps that are like it
            self._known[ref] = self._told(ref)
        told = self._known[ref]
        if told is None:
            return None
        inputs = {source.fingerprint for source in step.inputs.values()}
        return told._replace(
            is_of_these=self._pictures_among(inputs | {step.ref.fingerprint}) <= told.pictures,
            num_same=len(inputs & told.inputs) + (told.images in self._image_sets),
        )

    def _told(self, ref: ArtifactRef) -> _Told | None:
        images = ""
        if measured := self._measured.get(ref):
            summary, host, recipe, images = measured.pace, measured.host, measured.recipe, measured.images
        else:
            try:
                manifest = self._store.manifest(ref)
                summary, host, recipe = PaceSummary.of(manifest), manifest.provenance.get("host", ""), manifest.recipe
            except (CorruptArtifactError, NewerFormatError, NotInStoreError):  # of no matter to what is to be made
                return None
        # A store may be shared by computers with and without a GPU.
        is_here = host == platform.node() and summary.device == self._runtime.device
        if not is_here or summary.pace is None:
            return None
        is_by_same = summary.hands in (None, self._runtime.hands)  # older versions do not say
        inputs = frozenset(recipe["inputs"].values())
        pictures = self._pictures_among(inputs | {ref.fingerprint})
        return _Told(is_by_same, summary.seconds, summary.pace, inputs, pictures, images)

    def _alike(self, recipe: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what decides how fast the units of a recipe go by: stage, network, precision, images in a step, how
        images are shown, and what it reads.
        """
        config, inputs = recipe["config"], recipe["inputs"]
        training = config.get("training") or config.get("probe") or {}
        per_step = [training.get(name) for name in _OF_A_STEP]
        own = config.get("backbone") or config.get("model")  # of a network, or of a generator
        network = own or next((found for ref in inputs.values() if (found := self._backbones.get(ref))), None)
        reads = sorted(inputs.keys() - {"settings"})  # chosen or given, they take as long
        return recipe["stage"], network, per_step, [config.get(name) for name in _OF_A_STAGE], reads

    def _recipes_of(self, kind: str) -> list[tuple[ArtifactRef, dict[str, Any]]]:
        if kind not in self._recipes:  # read once for all steps that make one
            measured = [(ref, one.recipe) for ref, one in self._measured.items() if ref.kind == kind]
            self._recipes[kind] = [*self._store.recipes(kind), *measured]
        return self._recipes[kind]

    def _pictures_among(self, fingerprints: Iterable[str]) -> frozenset[_Pictures]:
        """Return the pictures of those that are image-sets."""
        return frozenset(self._pictures[name] for name in fingerprints if name in self._pictures)

    @cached_property
    def _pictures(self) -> dict[str, _Pictures]:
        """Pictures of image-sets, there or planned, by fingerprints."""
        there = {ref.fingerprint: _pictures_of(recipe) for ref, recipe in self._recipes_of("image-set")}
        planned = {
            step.ref.fingerprint: _pictures_of(step.stage.recipe(step.config, step.inputs, step.external))
            for step in self._steps
            if step.ref.kind == "image-set"
        }
        return there | planned

    @cached_property
    def _backbones(self) -> dict[str, Any]:
        """Backbones of what comes from a network, there or planned, by fingerprints: not every recipe says its own."""
        there = {
            ref.fingerprint: recipe["config"].get("backbone")
            for kind in _OF_NETWORKS
            for ref, recipe in self._recipes_of(kind)
        }
        planned = {
            step.ref.fingerprint: step.config.identity().get("backbone")
            for step in self._steps
            if step.ref.kind in _OF_NETWORKS
        }
        return there | planned


def _pictures_of(recipe: Mapping[str, Any]) -> _Pictures:
    """Return what tells the pictures of an image-set: more or fewer of a folder, or other splits, are the same."""
    config = recipe["config"]
    side = config.get("reduce_to_px") or config.get("blends", {}).get("side_px")
    return recipe["stage"], *sorted(recipe["external"].values()), str(side)
