"""How much of an unfinished artifact need not be done again."""

from typing import NamedTuple

from taskdistill.storage.checkpoints import kept_step
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

_TRAINED = ("model", "probe")
"""Kinds that go on from a checkpoint; the others from what they have written."""
_BEGUN_ANEW = ("evaluation", "selection")
"""Kinds that keep nothing: they take seconds, and are not worth it."""


class KeptWork(NamedTuple):
    unit: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"at {self.done} of {self.total} {self.unit}" if self.done else "from the beginning"


def kept_work(store: ArtifactStore, ref: ArtifactRef) -> KeptWork:
    """Return where an unfinished artifact goes on: a training at its last checkpoint, others at most a chunk, a shard
    or the checkpoint of a trial before what they reported last, and some at the beginning.
    """
    progress = store.progress(ref)
    if not progress:
        return KeptWork("", 0, 0)
    return KeptWork(progress["unit"], _kept(store, ref, progress["done"]), progress["total"])


def _kept(store: ArtifactStore, ref: ArtifactRef, reported: int) -> int:
    if ref.kind in _BEGUN_ANEW:
        return 0
    return kept_step(store.draft_path(ref)) if ref.kind in _TRAINED else reported
