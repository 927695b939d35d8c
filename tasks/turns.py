"""Turns of a device: one process computes on a GPU at a time, and on a CPU as many as it has cores for.

    <store>/locks/turn-<device>   flock of the process that computes: freed by the kernel at any death; no child has it

Prefect's limits count runs, and know nothing of GPUs: a run that died without a word counts on, and one that computes
by itself does not count as one of those that workers do. So whoever runs something unwatched has it take turns. Where
there are several GPUs, it is the turn of the first that is free: two runs do not wait for one of four.

A stage takes its turn where it asks for its device (`tasks.models.device`). It holds the lock of its artifact by then,
and from there on waits for nobody, so that no two can wait for each other; and one that needs no device never waits.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from taskdistill.storage.locks import one_locked
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.cores import num_cores

GPUS = ("cuda", "mps")
"""The kinds of device, as torch calls them, that have no room for two."""
DEVICES = (*GPUS, "cpu")


@dataclass
class _Turns:
    folder: Path
    kinds: Sequence[str]
    held: ExitStack
    name: str = ""
    """Of the device whose turn it is; empty before it was asked for."""


_TURNS: ContextVar[_Turns | None] = ContextVar("turns", default=None)


@contextmanager
def taking_turns(store: ArtifactStore, kinds: Sequence[str]) -> Iterator[None]:
    """Have stages that run within the block, in this thread, take turns with all others that do so for this store; on
    devices of these kinds alone.
    """
    with ExitStack() as held:
        before = _TURNS.set(_Turns(store.root / "locks", kinds, held))
        try:
            yield
        finally:
            _TURNS.reset(before)


def take_turn(kind: str, names: Sequence[str], let_go: Callable[[], None]) -> int | None:
    """Wait until one of these devices of a kind is free, and hold it until the end of the block that takes turns; then
    `let_go` is called before others come. Returns its place among the names, the same each time within the block; None
    without such a block, or where it is for devices of other kinds: any will do.
    """
    turns = _TURNS.get()
    if turns is None or kind not in turns.kinds:
        return None
    if not turns.name:
        paths = [turns.folder / f"turn-{name}" for name in names]
        busy = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} at work for other processes"
        held = turns.held.enter_context(one_locked(paths, busy))
        turns.held.callback(let_go)
        turns.name = names[paths.index(held)]
    return names.index(turns.name) if turns.name in names else None


def cpu_turns(threads: int) -> list[str]:
    """Return what the turns of this machine's CPU are called, for work that takes so many threads."""
    return [f"cpu-{platform.node()}-{number}" for number in range(max(1, num_cores() // threads))]
