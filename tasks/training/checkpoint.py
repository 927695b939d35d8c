"""The whole state of a training run in one safetensors file, written by one rename: a crash finds all of it or the
one before.

The format has no checksum, so the file carries a CRC-32C of its tensors: one that a disk did not keep whole is not
continued from. It lies in the draft until the artifact is committed: a run killed while it draws its last picture
continues there.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from taskdistill.storage.checkpoints import CHECKPOINT, facts_of
from taskdistill.storage.errors import StoreError
from taskdistill.storage.weights import Tensors, read_tensors, write_tensors
from taskdistill.tasks.models.task_model import as_arrays, as_tensors

log = logging.getLogger(__name__)

_CRC = "crc32c"

Groups = Mapping[str, Mapping[str, Tensor]]


def save(folder: Path, groups: Groups, facts: Mapping[str, Any]) -> None:
    """Write named groups of tensors, such as model and optimizer, and a few facts (plain JSON: step, history)."""
    # safetensors holds one flat table of names: the group is the part before the first slash, which no group contains.
    flat = {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
    arrays = as_arrays(flat)
    write_tensors(folder / CHECKPOINT, arrays, json.dumps({**facts, _CRC: _checksum(arrays)}))


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return what `save` was given, or None where nothing was saved yet, or not kept whole by the disk."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        arrays = read_tensors(path)
        facts = facts_of(path)
    except (StoreError, SafetensorError, OSError, ValueError) as error:
        # Starting over costs time and is right; an error would come again at each attempt, until the draft is removed.
        log.warning("%s cannot be read (%s): starting over", path, error)
        return None
    if facts.pop(_CRC, None) not in (None, _checksum(arrays)):  # earlier versions wrote none
        log.warning("%s does not fit its checksum: starting over", path)
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for flat, tensor in as_tensors(arrays).items():
        group, _, name = flat.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups, facts


def _checksum(arrays: Tensors) -> int:
    # Sorted, as the file does not keep the order in which tensors were given; names too, or two that were exchanged
    # would pass.
    crc = 0
    for name in sorted(arrays):
        crc = google_crc32c.extend(crc, name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return crc


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state to `index.name` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned into an optimiser of the same parameters in the same order."""
    state: dict[int, dict[str, Tensor]] = {}
    for flat, tensor in tensors.items():
        index, _, name = flat.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    # The groups are the new optimiser's own: they come from the settings, and their learning rate from the step.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # A fused optimiser goes through memory, so moments must lie there as their parameters do: channels last, perhaps.
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
