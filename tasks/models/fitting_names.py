"""Which of timm's networks a weight file would fit: looked for only where it does not fit the one that was named."""

import difflib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from taskdistill.tasks.models.fitting import CONSTRUCTOR_ERRORS

SEARCH_SECONDS = 5.0
"""Time for the search; a network without memory of its own takes about a tenth of a second to build."""


def fitting_name(tensors: Mapping[str, Tensor], file: Path, named: str) -> str:
    """Return the name of a timm network whose every tensor is in the file by name and shape, or nothing."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    until = time.monotonic() + SEARCH_SECONDS
    for name in dict.fromkeys(_candidates(file, named)):
        if time.monotonic() > until:
            return ""
        if (network := _outline(name)) and _is_filled(network, shapes):
            return name
    return ""


def _candidates(file: Path, named: str) -> Iterator[str]:
    """Yield names, the most likely first: what a file beside it says, how it and its folder are called, the family."""
    known = timm.list_models()
    beside = file.with_name("config.json")
    if beside.is_file():
        yield from _architecture(beside)
    words = [file.name.split(".")[0], file.absolute().parent.name.split(".")[0], named]
    for word in words:
        yield from difflib.get_close_matches(word.lower().replace("-", "_"), known, n=8, cutoff=0.5)
    family = timm.model_entrypoint(named).__module__.rpartition(".")[2]
    yield from timm.list_models(module=family)


def _architecture(config: Path) -> Iterator[str]:
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return
    architecture = settings.get("architecture") if isinstance(settings, dict) else None
    if isinstance(architecture, str) and timm.is_model(architecture):
        yield architecture


def _outline(name: str) -> nn.Module | None:
    """Build a network without memory; None where it cannot be."""
    try:
        with torch.device("meta"):
            network: nn.Module = timm.create_model(name, num_classes=0)
    except CONSTRUCTOR_ERRORS:
        return None
    return network


def _is_filled(network: nn.Module, shapes: Mapping[str, torch.Size]) -> bool:
    """Whether the file has each tensor, and no layers beyond the network's."""
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items() if tensor.ndim}
    stacks = {name.partition(".")[0] for name in wanted}
    beyond = {name for name in shapes if name not in wanted and name.partition(".")[0] in stacks}
    modules = {name for name, _ in network.named_modules()}
    return all(shapes.get(name) == shape for name, shape in wanted.items()) and not any(
        name.rpartition(".")[0] not in modules for name in beyond
    )
