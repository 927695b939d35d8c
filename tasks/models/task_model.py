"""The network that solves the task: an encoder, the blocks its head sees, and the head.

Shape letters: N images, C channels, H W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from taskdistill.configs.models import Backbone
from taskdistill.storage.weights import ModelDescription, read_committed_tensors
from taskdistill.tasks.models.encoder import Block, Encoder, ModelError, blocks_named, build_encoder
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.problem import problem_named


class TaskModel(nn.Module):
    """encoder -> blocks -> head; `forward` maps normalised images [N, C, H, W] to the head's outputs.

    Raises ModelError where the encoder lacks one of the blocks.
    """

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


def load_head(folder: Path, description: ModelDescription, blocks: Sequence[Block]) -> nn.Module:
    """Load the head of a finished probe, for an encoder with these blocks; ModelError where one it sees is missing."""
    head = empty_head(description, blocks)
    head.load_state_dict(as_tensors(read_committed_tensors(folder, description.weights)))
    return head


def empty_head(description: ModelDescription, blocks: Sequence[Block]) -> nn.Module:
    """Build the head of a finished probe, its weights not loaded; ModelError where a block it sees is missing."""
    named = blocks_named(blocks, description.blocks)
    return problem_named(description.problem).head(named, len(description.classes), description.head)


def load_model(folder: Path) -> tuple[TaskModel, ModelDescription]:
    """Load a finished model artifact, ready for inference; nothing is downloaded. Raises as `empty_model` does."""
    description = ModelDescription.read(folder)
    model = empty_model(folder, description)
    model.load_state_dict(as_tensors(read_committed_tensors(folder, description.weights)))
    return model.eval(), description


def empty_model(folder: Path, description: ModelDescription) -> TaskModel:
    """Build the network of a finished model artifact, its weights not loaded; ModelError where its settings are no
    longer taken, or timm cannot build it.
    """
    encoder = build_encoder(as_built(description, folder))
    encoder.preprocessing = Preprocessing(**description.preprocessing)
    return TaskModel(encoder, description.blocks, empty_head(description, encoder.blocks))


def as_built(description: ModelDescription, folder: Path) -> Backbone:
    """Return the backbone of a finished model with its weights left out, as those lie in the artifact's folder;
    ModelError where its settings are no longer taken.
    """
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
