"""The whole state of a training run in one safetensors file, written by one rename: a crash finds all of it or the
one before.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from storage.weights import read_tensors, write_tensors
from tasks.models.task_model import as_arrays, as_tensors

CHECKPOINT = "checkpoint.safetensors"

Groups = Mapping[str, Mapping[str, Tensor]]


def save(folder: Path, groups: Groups, facts: Mapping[str, Any]) -> None:
    """Write named groups of tensors, such as model and optimizer, and a few facts (plain JSON: step, history)."""
    flat = {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
    write_tensors(folder / CHECKPOINT, as_arrays(flat), json.dumps(facts))


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return what `save` was given, or None where nothing was saved yet."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for flat, tensor in as_tensors(read_tensors(path)).items():
        group, _, name = flat.partition("/")
        groups.setdefault(group, {})[name] = tensor
    with safe_open(path, "np") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["note"])
    return groups, facts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state to `index.name` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for flat, tensor in tensors.items():
        index, _, name = flat.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
