"""How many steps of a run work side by side: what the settings ask for, what the machine has, what the run can use."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.scheduling import NOWHERE, Elsewhere, widest
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.visible_gpus import num_gpus

log = logging.getLogger(__name__)

GIB = 2**30
STEP_BYTES = GIB
"""A guess of what the process of a step takes: the program with torch 0.4 GiB, a small network, its batch and images.
Caches (runtime.image_cache_mb, runtime.logits_cache_mb) and large networks come on top.
"""


class Slots(NamedTuple):
    """Steps at the same time, and the GPUs they share, as groups of `runtime.ranks`; without a GPU 0."""

    number: int
    groups: int


def slots_of(runtime: RuntimeConfig, steps: Sequence[PlannedStep], elsewhere: Elsewhere = NOWHERE) -> Slots:
    """Return how many of these steps are to run here at the same time; warns where more are asked for than fit.

    One where no two of them could: then torch need not be imported by another process.
    """
    missing = _missing(steps)
    at_once = widest(missing, elsewhere)
    if at_once <= 1 or runtime.slots == 1:
        return Slots(1, 0)
    groups = _num_gpus(runtime) // runtime.ranks
    # A number that was asked for is obeyed, with a warning: the memory of a step is only guessed here.
    if runtime.slots:
        _warn(runtime, groups)
        return Slots(min(runtime.slots, len(missing)), groups)
    return Slots(_fitting(runtime, groups, at_once), groups)


def probable_slots(runtime: RuntimeConfig, steps: Sequence[PlannedStep]) -> int:
    """Return how many that will be, as `plan` says it: without torch, which takes seconds to import, and says nothing
    else of GPUs.
    """
    missing = _missing(steps)
    at_once = widest(missing)
    if at_once <= 1 or runtime.slots:
        return min(runtime.slots, len(missing)) if at_once > 1 else 1
    gpus = 0 if runtime.device == "cpu" else num_gpus()
    return _fitting(runtime, gpus // runtime.ranks, at_once)


def _missing(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """Return the steps that take time, and so a slot: what is there already takes none."""
    return [step for step in steps if step.action != "have"]


def _fitting(runtime: RuntimeConfig, groups: int, at_once: int) -> int:
    on_cores = num_cores() // runtime.cores
    return max(1, min(groups or on_cores, _num_in_memory(runtime), at_once))


def gpus_of_each(slots: Slots, turns: Sequence[str], ranks: int) -> list[str]:
    """Return the numbers of the GPUs that each slot is to see, one for each rank, as in "0,1"; "" for all there are.
    `turns` are the kinds of device for whose turn steps wait (`tasks.turns`).
    """
    # Who waits for a turn takes GPUs that are free: they may be others than those of its number.
    if not slots.groups or "cuda" in turns:
        return [""] * slots.number
    groups = [range(start, start + ranks) for start in range(0, slots.groups * ranks, ranks)]
    return [",".join(map(str, groups[number % slots.groups])) for number in range(slots.number)]


def _num_gpus(runtime: RuntimeConfig) -> int:
    if runtime.device == "cpu":
        return 0
    import torch  # where it computes on a GPU, there is work for it, and torch is imported already

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return 1 if runtime.device != "cuda" and torch.backends.mps.is_available() else 0


def _num_in_memory(runtime: RuntimeConfig) -> int:
    free = available_bytes()
    return sys.maxsize if free is None else max(1, free // (STEP_BYTES * runtime.ranks))


def available_bytes() -> int | None:
    """Return the memory that programs may still take, also within a container; None where that cannot be known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except FileNotFoundError:
        return None
    # A container has a limit of its own, of which meminfo, that of the whole machine, does not know.
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except FileNotFoundError:
        return free
    # Files that were read are counted as used, and given up as soon as a program wants their place.
    given_up = int(counts.get("inactive_file", 0))
    return free if limit == "max" else min(free, max(0, int(limit) - int(used) + given_up))


def _warn(runtime: RuntimeConfig, groups: int) -> None:
    slots, gpus, in_memory = runtime.slots, groups * runtime.ranks, _num_in_memory(runtime)
    if groups and slots > groups:
        log.warning(
            "runtime.slots is %d, but there %s%s: steps share a GPU, and its memory may not suffice. %d or less fit",
            slots,
            "is 1 GPU" if gpus == 1 else f"are {gpus} GPUs",
            f" and a slot takes {runtime.ranks} (runtime.ranks)" if runtime.ranks > 1 else "",
            groups,
        )
    if slots > in_memory:
        log.warning(
            "runtime.slots is %d, but the free memory is enough for about %d: a step is guessed to take %d GiB, more "
            "with a large network or caches. The kernel may kill steps that find none; the others then go on",
            slots, in_memory, STEP_BYTES * runtime.ranks // GIB,
        )  # fmt: skip
