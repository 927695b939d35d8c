"""The processors that this process may use, which a container or a scheduler may make fewer than the machine has."""

import os
import statistics
import sys
import time
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OF_NO_MATTER = 0.3
"""Threads of other programs that are always there."""
_LOAD, _LOOKS, _BETWEEN_LOOKS_SECONDS = Path("/proc/loadavg"), 10, 0.01


def num_cores() -> int:
    """Return the CPU cores this process may use: those it is bound to, and no more than its container has time for."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    bound, allowed = len(os.sched_getaffinity(0)), allowed_cores(_CGROUPS)
    return bound if allowed is None else min(bound, allowed)


def are_shared(threads: int, beside: float) -> bool:
    """Whether so many threads have to share the processors of this machine with `beside` threads of other programs."""
    return beside + threads > (os.cpu_count() or 1) + _OF_NO_MATTER


def beside_this() -> float:
    """Return how many threads beside this one want a processor just now, the mean of a few looks; 0 where the system
    does not say. Unlike the average of a minute it forgets what ended a moment ago.
    """
    if not _LOAD.is_file():
        return 0.0
    looks = []
    for _ in range(_LOOKS):
        time.sleep(_BETWEEN_LOOKS_SECONDS)
        running, _, _ = _LOAD.read_text().split()[3].partition("/")
        looks.append(int(running) - 1.0)
    return statistics.mean(looks)


def allowed_cores(cgroups: Path) -> int | None:
    """Return for how many cores the control group of a container has time, by either version; None without a limit.

    A container sees its own group at the top of `cgroups`.
    """
    of_cpu = cgroups / "cpu"
    older = f"{_text(of_cpu / 'cpu.cfs_quota_us')} {_text(of_cpu / 'cpu.cfs_period_us')}"
    return cores_of_quota(_text(cgroups / "cpu.max") or older)


def cores_of_quota(text: str) -> int | None:
    """Return the cores of "quota period", microseconds of processor time in so many, as cpu.max has it: a part of a
    core counts as one. None where there is no quota: "max" or, in the first version of control groups, -1.
    """
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return max(1, -(-int(quota) // int(period)))
        case _:
            return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another version, or not Linux's usual place
        return ""
