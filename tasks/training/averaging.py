"""The running mean of a network's weights: steadier than the last ones, and often better."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class RunningMean(AveragedModel):
    """A copy of a model that averages it: at the update after n others it keeps the share `kept(n)` of itself.

    The first update copies, unless `n_averaged` says that there were others before. Of the buffers, such as BatchNorm's
    statistics, those that are no fractions are copied: torch would round their mean down, step after step, and an
    index that a network looks things up by would come to point elsewhere.
    """

    def __init__(self, model: nn.Module, kept: Callable[[int], float]) -> None:
        super().__init__(model, use_buffers=True)
        self._kept = kept

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average a model in. Torch's own takes the count, which lies on the CPU, to the device and back each time, so
        that every step would wait for the GPU.
        """
        num_averaged = int(self.n_averaged)
        groups = defaultdict[torch.dtype, list[tuple[Tensor, Tensor]]](list)
        for mean, now in zip(_all_of(self.module), _all_of(model), strict=True):
            groups[mean.dtype].append((mean, now.detach()))
        for dtype, pairs in groups.items():
            if num_averaged and (dtype.is_floating_point or dtype.is_complex):
                average: Any = get_ema_multi_avg_fn(self._kept(num_averaged))  # type: ignore[no-untyped-call]
                average(*map(list, zip(*pairs, strict=True)), num_averaged)
                continue
            for mean, now in pairs:
                mean.copy_(now)
        self.n_averaged += 1


def _all_of(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def decay_of_short(decay: float, *, num_steps: int, of_training: int) -> float:
    """Return the decay by which the mean spans as large a part of `num_steps` as `decay` does of a whole training, so
    that as little of the start is left in it at the end: decay^(of_training / num_steps).
    """
    return math.pow(decay, of_training / num_steps)
