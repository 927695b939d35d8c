"""Turns of a device: one process computes on a GPU at a time, and on a CPU as many as it has cores for.

    <store>/locks/turn-<device>   flock of the process that computes: freed by the kernel at any death; no child has it

Prefect's limits count runs, and know nothing of GPUs: a run that died without a word counts on, and one that computes
by itself does not count as one of those that workers do. So whoever runs something unwatched has it take turns. Where
there are several GPUs, it is the turn of the first that is free: two runs do not wait for one of four. What
takes several GPUs at once takes its turn on the first group of so many that is free.

A stage takes its turn where it asks for its device (`tasks.models.device`). It holds the lock of its artifact by then,
and from there on waits for nobody, so that no two can wait for each other; and one that needs no device never waits.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from taskdistill.storage.locks import locked, one_locked
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
    names: Sequence[str] = ()
    """Of the devices whose turn it is; none before it was asked for."""


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
    places = take_turns(kind, names, let_go, count=1)
    return places[0] if places else None


def take_turns(kind: str, names: Sequence[str], let_go: Callable[[], None], *, count: int) -> Sequence[int]:
    """Wait until `count` of these devices are free at once, and hold them as `take_turn` does; returns their places
    among the names, none where it returns None.
    """
    turns = _TURNS.get()
    if turns is None or kind not in turns.kinds:
        return ()
    if not turns.names:
        turns.names = _held(turns, names, count)
        turns.held.callback(let_go)
    return [names.index(name) for name in turns.names[:count] if name in names]


def _held(turns: _Turns, names: Sequence[str], count: int) -> Sequence[str]:
    """Hold `count` devices: the first whose turn it is, and those that follow it in the order of their names."""
    # Whoever holds the first of a group alone waits for the others of it, and all go by the same order: no two can wait
    # for each other, also where others take groups of another size.
    ordered = sorted(names) if count > 1 else list(names)
    groups = [ordered[start : start + count] for start in range(0, len(ordered) - count + 1, count)]
    paths = {turns.folder / f"turn-{group[0]}": group for group in groups}
    firsts = " and ".join(group[0] for group in groups)
    busy = f"{firsts} {'is' if len(groups) == 1 else 'are'} at work for other processes"
    first, *others = paths[turns.held.enter_context(one_locked(list(paths), busy))]
    for name in others:
        turns.held.enter_context(locked(turns.folder / f"turn-{name}", f"{name} is at work for another process"))
    return [first, *others]


def cpu_turns(threads: int) -> list[str]:
    """Return what the turns of this machine's CPU are called, for work that takes so many threads."""
    return [f"cpu-{platform.node()}-{number}" for number in range(max(1, num_cores() // threads))]
