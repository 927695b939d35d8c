"""A finished probe as a whole network, for looking at: its head on the pretrained encoder that it was trained for."""

from collections.abc import Mapping
from pathlib import Path

import torch

from taskdistill.configs.models import Backbone
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.models.encoder import ModelError, build_encoder, encoder_fingerprint
from taskdistill.tasks.models.hub import lacks_weights
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel, as_built, load_head


def probed_network(folder: Path, weights: Mapping[str, str], device: torch.device) -> Deployable:
    """Load a finished probe with its encoder; nothing is downloaded.

    `weights` are files that may hold the encoder's, with their digests: a probe knows the content of that file, but not
    its place. Raises ModelError where none of them is the one, or the hub's cache has the weights no more, and what
    building an encoder raises.
    """
    description = ModelDescription.read(folder)
    encoder = build_encoder(_backbone(folder, description, weights))
    encoder.preprocessing = Preprocessing(**description.preprocessing)  # what its features were extracted with
    head = load_head(folder, description, encoder.blocks)
    return Deployable.of(TaskModel(encoder, description.blocks, head).eval(), description, device)


def _backbone(folder: Path, description: ModelDescription, weights: Mapping[str, str]) -> Backbone:
    """Return the settings of the encoder that a probe was trained for, with the file of its weights."""
    untrained, kept = as_built(description, folder), description.backbone["weights"]
    if kept == "file":
        for file, digest in weights.items():
            backbone = untrained.model_copy(update={"weights": kept, "file": file})
            if encoder_fingerprint(backbone, {"backbone.file": digest}) == description.encoder:
                return backbone
        raise ModelError(f"the file with the weights of {untrained.name} is not where it was, or has other content")
    if kept == "hub" and lacks_weights(untrained.name):
        raise ModelError(f"the weights of {untrained.name} are no longer in the hub's cache")
    return untrained.model_copy(update={"weights": kept})
