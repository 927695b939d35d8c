"""A finished model over the clean views of some images, or its outputs from a cache: a stream of batches, which a meter
takes one after the other.

Shape letters: N images of a batch, C channels, H W pixels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from configs.base import RuntimeConfig
from tasks.data.threads import prefetch
from tasks.functional.views import CLEAN_VIEW, Pixels
from tasks.models.device import autocast
from tasks.models.preprocessing import normalise
from tasks.problems.labelled import Labelled, LabelledCache, LabelledViews

Numbers = npt.NDArray[np.int64]


class Predicted(NamedTuple):
    """A model's outputs for a batch of images, on the CPU."""

    items: Numbers
    """Positions among the images asked for, [N]."""
    outputs: Tensor
    targets: Tensor
    pixels_NHW3: Pixels | None = None
    """What the model was given, where it ran now; a cache holds no pixels."""


@torch.inference_mode()
def predict(
    model: nn.Module,
    labelled: LabelledViews,
    rows: Numbers,
    runtime: RuntimeConfig,
    device: torch.device,
    precision: str = "fp32",
) -> Iterator[Predicted]:
    """Yield the model's outputs for the clean view of each row, in their order."""

    def load(items: Numbers) -> tuple[Numbers, Labelled]:
        return items, labelled.batch(rows[items].tolist(), [CLEAN_VIEW] * len(items))

    parts = _parts(len(rows), runtime.inference_batch_size)
    for items, batch in prefetch(load, parts, workers=runtime.workers):
        images_NCHW = normalise(batch.pixels_NHW3, labelled.source.preprocessing, device)
        with autocast(device, precision):
            # Metrics are computed in float32 whatever the model computes in: sums of bf16 logits would move scores.
            outputs = model(images_NCHW).float().cpu()
        yield Predicted(items, outputs, torch.from_numpy(batch.targets), batch.pixels_NHW3)


def cached(outputs: LabelledCache, num_images: int, *, batch_size: int) -> Iterator[Predicted]:
    """Yield the cached outputs of a model for the clean view of each image, in batches, as `predict` does.

    Raises CacheMismatchError where the clean view of an image is not in the cache.
    """
    for items in _parts(num_images, batch_size):
        found = outputs.take(items, np.full_like(items, CLEAN_VIEW))
        yield Predicted(items, torch.from_numpy(found.outputs).float(), torch.from_numpy(found.targets))


def _parts(count: int, size: int) -> list[Numbers]:
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
