"""Stages made of units, such as shards or chunks, each of which any worker can make alone.

One process makes all of them, or a `spread` hands spans of them to workers elsewhere (flows.deployed.fan_out). Either
way the draft says what is there: what workers claim is not believed, their units are looked for. A unit that is there
is whole unless the power was cut: whoever continues a draft reads its units back once.
"""

import itertools
import logging
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from configs.base import RuntimeConfig, StageConfig
from configs.errors import UserError
from storage.errors import NotInStoreError
from storage.files import read_json_if_whole, write_json
from storage.fingerprint import fingerprint
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.memory import memory_advice
from tasks.stage import Job, Report, Stage, Summary, external_digests, forgetting_changed, silent

C = TypeVar("C", bound=StageConfig)

log = logging.getLogger(__name__)

EFFORTS = ".efforts"


class UnfinishedError(UserError, RuntimeError):
    """Workers ended and not all units are there; the message names those that are missing."""


class Effort(NamedTuple):
    """What was done for some units: images shown to a network or painted by one, and how many a second."""

    images: int
    per_second: float


class Units(ABC, Generic[C]):
    """The units of one artifact in the making. Building it writes what all units share, where it is not there yet."""

    name: str
    """What a unit is called, in the plural."""

    @abstractmethod
    def __init__(self, config: C, job: Job) -> None: ...

    @abstractmethod
    def missing(self) -> list[int]:
        """Return the numbers of the units that are not there yet, ascending."""

    @abstractmethod
    def remove_damaged(self) -> list[int]:
        """Read back the units that are there, and remove and return those that are not whole, as power cuts leave
        them. Called once, before anybody makes any.
        """

    @abstractmethod
    def make(self, numbers: Sequence[int]) -> Effort:
        """Make these units, one at least. A unit appears whole or not at all; its bytes do not depend on the others."""

    @abstractmethod
    def finish(self, effort: Effort) -> Summary:
        """Write what is made from all units together, and return the summary."""


@dataclass(frozen=True)
class ByUnits(Generic[C]):
    """The function of a stage that is made of units."""

    begin: Callable[[C, Job], Units[C]]

    def __call__(self, config: C, job: Job) -> Summary:
        units = self.begin(config, job)
        if damaged := units.remove_damaged():
            log.warning("%d %s of an earlier attempt are not whole and are made again", len(damaged), units.name)
        missing = units.missing()
        made: list[Effort] = []
        if missing and job.spread:
            _spread(units, missing, job)
        elif missing:
            with memory_advice():
                made.append(units.make(missing))
        return units.finish(_joined(made + _efforts_of_workers(job.draft)))


def _spread(units: Units[Any], missing: list[int], job: Job) -> None:
    def still_missing() -> list[int]:
        left = units.missing()
        job.report(units.name, len(missing) - len(left), len(missing))
        return left

    assert job.spread is not None
    job.spread(missing, still_missing)
    if left := still_missing():
        raise UnfinishedError(
            f"{len(left)} of {len(missing)} {units.name} are not there, the first are {left[:8]}: a worker died or "
            "failed (see its own run). Run the same again, or retry this run: only what is missing is done"
        )


def _efforts_of_workers(draft: Path) -> list[Effort]:
    """Return what workers noted, also those of an earlier attempt."""
    notes = [read_json_if_whole(path) for path in sorted((draft / EFFORTS).glob("*.json"))]
    return [Effort(**note) for note in notes if note is not None]


def _joined(efforts: Sequence[Effort]) -> Effort:
    speed = statistics.median(effort.per_second for effort in efforts) if efforts else 0.0
    return Effort(sum(effort.images for effort in efforts), speed)


def make_span(
    stage: Stage[C],
    config: C,
    inputs: Mapping[str, ArtifactRef],
    numbers: Sequence[int],
    *,
    wanted: ArtifactRef,
    store: ArtifactStore,
    runtime: RuntimeConfig,
    report: Report = silent,
) -> int:
    """Make some units of an artifact whose draft another process has begun and holds; returns how many were missing.

    Raises NotInStoreError where this machine's store or files are not those of the one that asks.
    """
    external = external_digests(config, store)
    found = ArtifactRef(stage.output, fingerprint(stage.recipe(config, inputs, external)))
    if found != wanted:
        raise NotInStoreError(
            f"asked for a part of {wanted.short}, but with the files of this machine it would be {found.short}: give "
            "the worker the same weights and folders, and the same version of this program, as the run that asks"
        )
    folders = {role: store.path(source) for role, source in inputs.items()}
    name = span_name(numbers)
    with (
        store.lock(wanted, part=name),
        forgetting_changed(config, store),
    ):  # an earlier worker may still be at it: wait, then find its units
        draft = store.draft_of(wanted)
        job = Job(folders, draft, runtime, external, report)
        units = begin_units(stage, config, job)
        missing = sorted(set(units.missing()).intersection(numbers))
        if missing:
            with memory_advice():
                effort = units.make(missing)
            (draft / EFFORTS).mkdir(exist_ok=True)
            write_json(draft / EFFORTS / f"{name}.json", effort._asdict())
    return len(missing)


def cut(numbers: Sequence[int], count: int) -> list[list[int]]:
    """Cut numbers into at most `count` spans of nearly equal length, none of them empty, in their order."""
    count = min(count, len(numbers))
    bounds = [piece * len(numbers) // count for piece in range(count + 1)] if count else []
    return [list(numbers[start:stop]) for start, stop in itertools.pairwise(bounds)]


def span_name(numbers: Sequence[int]) -> str:
    """What the lock of a span is called, by which others see that somebody is at work on it."""
    return f"{numbers[0]}-{numbers[-1]}"


def begin_units(stage: Stage[C], config: C, job: Job) -> Units[C]:
    function = stage.load()
    if not isinstance(function, ByUnits):
        raise TypeError(f"stage {stage.name!r} is not made of units")
    return function.begin(config, job)
