"""Stages made of partitions, such as shards or chunks, each of which any worker can make alone.

One process makes all of them, or a `dispatch` hands spans of them to workers elsewhere (flows.deployed.fan_out). Either
way the draft shows what is there: what workers report is not believed, the files of their partitions are looked for. A
partition that is there is whole unless the power was cut: whoever continues a draft reads its partitions back once.
"""

import itertools
import logging
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from taskdistill.configs.base import StageConfig
from taskdistill.configs.errors import UserError
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.kept_views import VIEWS
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import Summary
from taskdistill.tasks.memory import memory_advice
from taskdistill.tasks.stage import OnProgress, Stage, StageContext, digests_of_wanted, forgetting_changed, no_progress

C = TypeVar("C", bound=StageConfig)

log = logging.getLogger(__name__)

THROUGHPUTS = ".efforts"
"""Folder of a draft for what workers note; its name lies in drafts of earlier versions and in Contents, so it stays."""


class UnfinishedError(UserError, RuntimeError):
    """Workers ended and not all partitions are there; the message names those that are missing."""


class Throughput(NamedTuple):
    """What was done for some partitions: images that went through a network or came out of one, and how many a
    second."""

    images: int
    per_second: float


class Partitions(ABC, Generic[C]):
    """The partitions of one artifact in the making.

    Building it writes what they share, such as shapes and ids, where it is not there yet, and loads no network: who
    only hands partitions out to others needs none. `make` loads it.
    """

    name: str
    """What a partition of this stage is, in the plural, such as shards."""

    @abstractmethod
    def __init__(self, config: C, context: StageContext) -> None: ...

    @abstractmethod
    def missing(self) -> list[int]:
        """Return the numbers of the partitions that are not there yet, ascending."""

    @abstractmethod
    def remove_damaged(self) -> list[int]:
        """Read back the partitions that are there, and remove and return those that are not whole, as power cuts
        leave them. Called once, before anybody makes any.
        """

    @abstractmethod
    def make(self, numbers: Sequence[int]) -> Throughput:
        """Make these partitions, one at least. A partition appears whole or not at all, and its bytes do not depend on
        the others. ModelError and SourceChangedError where its network or its device cannot be had.
        """

    def flush(self) -> None:
        """Wait until what was made is on the disk, where `make` does not wait for it."""

    def gather(self) -> None:
        """Put together what partitions are only apart in while they are made; called when all are there."""

    @abstractmethod
    def finish(self, throughput: Throughput) -> Summary:
        """Write what is made from all partitions together, and return the summary."""


@dataclass(frozen=True)
class ByPartitions(Generic[C]):
    """The function of a stage that is made of partitions."""

    begin: Callable[[C, StageContext], Partitions[C]]

    def __call__(self, config: C, context: StageContext) -> Summary:
        partitions = self.begin(config, context)
        # By whoever continues the draft, before anybody works on it: a worker must not remove what another is writing.
        if damaged := partitions.remove_damaged():
            log.warning("%d %s of an earlier attempt are not whole and are made again", len(damaged), partitions.name)
        missing = partitions.missing()
        made: list[Throughput] = []
        if missing and context.dispatch:
            _dispatch(partitions, missing, context)
        elif missing:
            with memory_advice():
                made.append(partitions.make(missing))
                partitions.flush()
        partitions.gather()
        # Workers' notes also where this process made the rest itself: an earlier attempt may have had workers.
        return partitions.finish(_joined(made + _throughputs_of_workers(context.draft)))


def _dispatch(partitions: Partitions[Any], missing: list[int], context: StageContext) -> None:
    def still_missing() -> list[int]:
        left = partitions.missing()
        context.on_progress(partitions.name, len(missing) - len(left), len(missing))
        return left

    assert context.dispatch is not None
    context.dispatch(missing, still_missing)
    # That it returned proves nothing about the partitions: a worker may have failed, or have written to another disk.
    if left := still_missing():
        raise UnfinishedError(
            f"{len(left)} of {len(missing)} {partitions.name} are not there, the first are {left[:8]}: a worker died "
            "or failed (see its own run). Run the same again, or retry this run: only what is missing is done"
        )


def _throughputs_of_workers(draft: Path) -> list[Throughput]:
    """Return what workers noted, also those of an earlier attempt."""
    notes = [read_json_if_whole(path) for path in sorted((draft / THROUGHPUTS).glob("*.json"))]
    return [Throughput(**note) for note in notes if note is not None]


def _joined(throughputs: Sequence[Throughput]) -> Throughput:
    # The median of processes, not total by time: they may have run side by side, or one on a busy machine.
    speed = statistics.median(throughput.per_second for throughput in throughputs) if throughputs else 0.0
    return Throughput(sum(throughput.images for throughput in throughputs), speed)


def make_partitions(
    stage: Stage[C],
    config: C,
    inputs: Mapping[str, ArtifactRef],
    numbers: Sequence[int],
    *,
    wanted: ArtifactRef,
    store: ArtifactStore,
    runtime: RuntimeConfig,
    on_progress: OnProgress = no_progress,
) -> int:
    """Make some partitions of an artifact whose draft another process has begun; returns how many were missing.

    Raises NotInStoreError where this machine's store or files are not those of the one that asks, SourceChangedError
    where files changed meanwhile, OutOfMemoryError where the device cannot hold the work, and TypeError for a stage
    that is not made of partitions.
    """
    content_digests = digests_of_wanted(wanted, stage, config, inputs, store)
    folders = {role: store.path(source) for role, source in inputs.items()}
    name = span_name(numbers)
    with (
        # A lock of the span, not of the draft, which the process that asks holds while it waits for its workers. An
        # earlier worker may still be at the same span: wait, then find what it made.
        store.lock(wanted, part=name),
        forgetting_changed(config, store),
    ):
        draft = store.draft_of(wanted)
        context = StageContext(folders, draft, runtime, content_digests, on_progress, views=store.root / VIEWS)
        partitions = begin_partitions(stage, config, context)
        missing = sorted(set(partitions.missing()).intersection(numbers))
        if missing:
            with memory_advice():
                throughput = partitions.make(missing)
                partitions.flush()
            (draft / THROUGHPUTS).mkdir(exist_ok=True)
            write_json(draft / THROUGHPUTS / f"{name}.json", throughput._asdict())
    return len(missing)


def cut(numbers: Sequence[int], count: int) -> list[list[int]]:
    """Cut numbers into at most `count` spans of nearly equal length, none of them empty, in their order."""
    count = min(count, len(numbers))
    bounds = [piece * len(numbers) // count for piece in range(count + 1)] if count else []
    return [list(numbers[start:stop]) for start, stop in itertools.pairwise(bounds)]


def span_name(numbers: Sequence[int]) -> str:
    """What the lock of a span is called, by which others see that somebody is at work on it."""
    return f"{numbers[0]}-{numbers[-1]}"


def is_of_partitions(stage: Stage[Any]) -> bool:
    """Whether workers can make parts of what a stage makes."""
    return isinstance(stage.load(), ByPartitions)


def begin_partitions(stage: Stage[C], config: C, context: StageContext) -> Partitions[C]:
    """Return the partitions of an artifact in the making; TypeError where the stage is not made of any."""
    function = stage.load()
    if not isinstance(function, ByPartitions):
        raise TypeError(f"stage {stage.name!r} is not made of partitions")
    return function.begin(config, context)
