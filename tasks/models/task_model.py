"""The network that solves the task: an encoder, the blocks its head sees, and the head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from configs.base import RuntimeConfig
from configs.models import Backbone
from storage.weights import ModelDescription, read_committed_tensors
from tasks.models.cpu_memory import keep_freed_memory
from tasks.models.encoder import Block, Encoder, ModelError, blocks_named, build_encoder
from tasks.models.preprocessing import Preprocessing
from tasks.problems.problem import problem_named

M = TypeVar("M", bound=nn.Module)


class TaskModel(nn.Module):
    """encoder -> blocks -> head; `forward` maps normalised images [N, C, H, W] to the head's outputs."""

    def __init__(self, encoder: Encoder, blocks: list[str], head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self._names = [block.name for block in blocks_named(encoder.blocks, blocks)]

    @property
    def preprocessing(self) -> Preprocessing:
        return self.encoder.preprocessing

    def forward(self, images_NCHW: Tensor) -> Tensor:
        outputs: Tensor = self.head(*self.encoder(images_NCHW, self._names))
        return outputs


def device_of(runtime: RuntimeConfig) -> torch.device:
    """Return the device to compute on, and prepare this process for it: threads of an operation, memory."""
    torch.set_num_threads(runtime.threads)
    keep_freed_memory()
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "runtime.device is cuda, but torch sees no CUDA device: set it to auto or cpu, or install torch for CUDA"
        )
    if runtime.device != "auto":
        return torch.device(runtime.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def on_device(module: M, device: torch.device) -> M:
    """Move a network to the device, its convolutions in channels-last order, and return it."""
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def load_head(folder: Path, description: ModelDescription, blocks: Sequence[Block]) -> nn.Module:
    """Load the head of a finished probe, for an encoder with these blocks; ModelError where one it sees is missing."""
    seen = blocks_named(blocks, description.blocks)
    head = problem_named(description.problem).head(seen, len(description.classes))
    head.load_state_dict(as_tensors(read_committed_tensors(folder, description.weights)))
    return head


def load_model(folder: Path) -> tuple[TaskModel, ModelDescription]:
    """Load a finished model artifact, ready for inference; nothing is downloaded."""
    description = ModelDescription.read(folder)
    encoder = build_encoder(_as_built(description, folder))
    encoder.preprocessing = Preprocessing(**description.preprocessing)
    seen = blocks_named(encoder.blocks, description.blocks)
    head = problem_named(description.problem).head(seen, len(description.classes))
    model = TaskModel(encoder, description.blocks, head)
    model.load_state_dict(as_tensors(read_committed_tensors(folder, description.weights)))
    return model.eval(), description


def _as_built(description: ModelDescription, folder: Path) -> Backbone:
    """Return the backbone of a finished model with its weights left out, as those lie in the artifact."""
    backbone: dict[str, Any] = description.backbone | {"weights": "random", "file": ""}
    # Older settings could name these two here; neither changes what the finished network is.
    kept = {name: value for name, value in backbone["arguments"].items() if name not in ("drop_path_rate", "in_chans")}
    try:
        return Backbone.model_validate(backbone | {"arguments": kept})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelError(
            f"the model in {folder} was made with settings that are no longer taken ({reason}): discard it, and "
            "run its experiment again with other settings"
        ) from error


def as_tensors(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def as_arrays(tensors: dict[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
