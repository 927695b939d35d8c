"""Networks without weights: how wide their outputs are and how they want to see an image, known before any are loaded.

On torch's "meta" device tensors have a shape and no values, so that a network of any size is built, and even run, in
less than a second and no memory.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from taskdistill.configs.models import Backbone
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.models.encoder import Encoder, ModelError, build_encoder
from taskdistill.tasks.models.task_model import empty_model

T = TypeVar("T")


def without_weights(build: Callable[[], T]) -> T:
    """Return what `build` returns on the meta device, or on the CPU where its network looks into values as it is built:
    the answer is the same, and takes longer.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            return build()
    except (RuntimeError, ModelError):  # what torch raises for values that are not there, and adapters make of it
        with torch.no_grad():
            return build()


def encoder_outline(backbone: Backbone) -> Encoder:
    """Return a backbone's encoder to ask for its blocks, widths, preprocessing and number of parameters.

    Raises ModelError where no such encoder can be built.
    """
    untrained = backbone.model_copy(update={"weights": "random", "file": ""})
    return without_weights(lambda: build_encoder(untrained).eval())


def model_output_shape(folder: Path, description: ModelDescription) -> tuple[int, ...]:
    """Return the shape of a finished model's outputs for one image; ModelError where it cannot be built."""

    def shape() -> tuple[int, ...]:
        model = empty_model(folder, description).eval()
        return tuple(model(torch.zeros(1, 3, *model.preprocessing.size)).shape[1:])

    return without_weights(shape)
