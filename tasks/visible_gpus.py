"""The GPUs that this process may use, as torch will find them, known without importing it."""

import itertools
import os
import re
from pathlib import Path

_DEVICES = Path("/dev")
_GPU = re.compile(r"\d|GPU-|MIG-")


def visible_gpus() -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, by numbers or by their own names (GPU-..., MIG-...); None where
    it is not set. As CUDA reads it: up to the first entry that names none, and nothing where one is named twice.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return None
    found = list(itertools.takewhile(_GPU.match, map(str.strip, listed.split(","))))
    return found if len(set(found)) == len(found) else []


def num_gpus() -> int:
    """Return how many GPUs of NVIDIA this process may use."""
    there = len(list(_DEVICES.glob("nvidia[0-9]*")))
    named = visible_gpus()
    if not there or named is None:
        return there
    # A number beyond those that are there ends the list; a part of a GPU (MIG) counts as one.
    return len(list(itertools.takewhile(lambda gpu: not gpu.isdecimal() or int(gpu) < there, named)))
