"""Temperature scaling with a loss in torch: the slope for `tasks.functional.temperatures`, by differentiation."""

from collections.abc import Callable

import torch
from torch import Tensor

from taskdistill.tasks.functional.temperatures import temperature_of


def best_temperature(loss: Callable[[Tensor], Tensor]) -> float:
    """Return the temperature of the smallest loss, as `temperature_of` does.

    `loss` returns the loss, a scalar, of the outputs multiplied by the scale that it is given.
    """
    return temperature_of(lambda scale: _slope(loss, scale))


def _slope(loss: Callable[[Tensor], Tensor], scale: float) -> float:
    at = torch.tensor(scale, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(at), at)
    return float(slope)
