"""Running a finished model over the clean views of some images."""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from configs.base import RuntimeConfig
from tasks.data.batches import ViewSource, prefetch
from tasks.models.preprocessing import normalise
from tasks.models.task_model import autocast
from tasks.problems.problem import Problem, targets_of


class Predicted(NamedTuple):
    """Outputs and targets of N images, on the CPU, and the speed of the network alone."""

    outputs: Tensor
    targets: Tensor
    images_per_second: float


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
    """Return what the model says about the clean view of each row; the speed is the median over batches."""
    size = runtime.inference_batch_size
    parts = [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
    outputs, targets, speeds = [], [], []
    for batch in prefetch(lambda part: _batch(problem, source, part), parts, workers=runtime.workers):
        began = time.perf_counter()
        images_NCHW = normalise(batch.pixels, source.preprocessing, device)
        with autocast(device, precision):
            outputs.append(model(images_NCHW).float().cpu())
        speeds.append(len(batch.pixels) / (time.perf_counter() - began))
        targets.append(torch.from_numpy(batch.targets))
    return Predicted(torch.cat(outputs), torch.cat(targets), statistics.median(speeds))


def _batch(problem: Problem, source: ViewSource, rows: Sequence[int]) -> _Batch:
    views_N9 = source.views(rows, [0] * len(rows))
    targets = targets_of(problem, source.images, rows, views_N9, source.preprocessing.side_px)
    return _Batch(source.cut(rows, views_N9), targets)
