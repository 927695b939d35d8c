"""The running mean of a network's weights: steadier than the last ones, and often better."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def running_mean(model: nn.Module, kept: Callable[[int], float]) -> AveragedModel:
    """Return a copy of the model that averages it: at the update after n others it keeps the share `kept(n)` of itself.

    The first update copies, unless `n_averaged` says that there were others before. Of the buffers, such as BatchNorm's
    statistics, those that are no fractions are copied: torch would round their mean down, step after step, and an
    index that a network looks things up by would come to point elsewhere.
    """

    def update(means: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        if means[0].is_floating_point() or means[0].is_complex():
            get_ema_multi_avg_fn(kept(int(num_averaged)))(means, current, num_averaged)  # type: ignore[no-untyped-call]
            return
        for mean, now in zip(means, current, strict=True):
            mean.copy_(now)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def decay_of_short(decay: float, *, num_steps: int, of_training: int) -> float:
    """Return the decay by which the mean spans as large a part of `num_steps` as `decay` does of a whole training, so
    that as little of the start is left in it at the end: decay^(of_training / num_steps).
    """
    return math.pow(decay, of_training / num_steps)
