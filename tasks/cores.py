"""The processors that this process may use, which a container or a scheduler may make fewer than the machine has."""

import os
import sys


def num_cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
