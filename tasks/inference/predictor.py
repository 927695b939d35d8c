"""Running a finished model over the clean views of some images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from configs.base import RuntimeConfig
from tasks.data.batches import ViewSource, prefetch
from tasks.functional.views import CLEAN_VIEW
from tasks.models.preprocessing import normalise
from tasks.models.task_model import autocast
from tasks.problems.problem import Problem, targets_of


class Predicted(NamedTuple):
    """Outputs and targets of N images, on the CPU."""

    outputs: Tensor
    targets: Tensor


class _Batch(NamedTuple):
    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[Any]


@torch.inference_mode()
def predict(
    model: nn.Module,
    problem: Problem,
    source: ViewSource,
    rows: npt.NDArray[np.int64],
    runtime: RuntimeConfig,
    device: torch.device,
    precision: str = "fp32",
) -> Predicted:
    """Return what the model says about the clean view of each row."""
    size = runtime.inference_batch_size
    parts = [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
    outputs, targets = [], []
    for batch in prefetch(lambda part: _batch(problem, source, part), parts, workers=runtime.workers):
        images_NCHW = normalise(batch.pixels, source.preprocessing, device)
        with autocast(device, precision):
            outputs.append(model(images_NCHW).float().cpu())
        targets.append(torch.from_numpy(batch.targets))
    return Predicted(torch.cat(outputs), torch.cat(targets))


def _batch(problem: Problem, source: ViewSource, rows: Sequence[int]) -> _Batch:
    views_N9 = source.views(rows, [CLEAN_VIEW] * len(rows))
    targets = targets_of(problem, source.images, rows, views_N9, source.preprocessing.side_px)
    return _Batch(source.cut(rows, views_N9), targets)
