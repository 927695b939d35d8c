"""A sum over images computed in parts of them, so that what is only needed on the way is never there for all.

Logits of 150 classes at 512 x 512 pixels are 157 MB an image, and a loss on them holds several such tensors until its
backward pass. Here each part's gradient is taken at once, and only that is kept: it is as large as the network's
outputs, which have a cell for many pixels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MAX_NUMBERS = 2**24
"""Numbers of one tensor of a part, 64 MiB in float32."""

Total = Callable[..., Tensor]
"""From outputs [N, ...] and other tensors [N, ...] to a scalar: a sum over the N images."""


def sum_in_parts(total_of: Total, outputs: Tensor, others: tuple[Tensor, ...], numbers_per_image: int) -> Tensor:
    """Return total_of(outputs, *others), with its gradient with respect to outputs, which alone may have one.

    `numbers_per_image` is how large the largest tensor on the way is.
    """
    size = max(1, MAX_NUMBERS // max(1, numbers_per_image))
    if len(outputs) <= size:
        return total_of(outputs, *others)
    if torch.is_grad_enabled() and outputs.requires_grad:
        total: Tensor = _SumInParts.apply(total_of, size, outputs, *others)  # type: ignore[no-untyped-call]
        return total
    return torch.stack([total_of(*part) for part in _parts(size, outputs, *others)]).sum()


class _SumInParts(torch.autograd.Function):
    """The sum, whose gradient is known when it is."""

    @staticmethod
    def forward(ctx: Any, total_of: Total, size: int, outputs: Tensor, *others: Tensor) -> Tensor:
        totals, gradients = [], []
        for some, *rest in _parts(size, outputs, *others):
            with torch.enable_grad():
                leaf = some.detach().requires_grad_()
                total = total_of(leaf, *rest)
                (gradient,) = torch.autograd.grad(total, leaf)
            totals.append(total.detach())
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.stack(totals).sum()

    @staticmethod
    def backward(ctx: Any, *from_above: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return None, None, gradient * from_above[0], *[None] * (len(ctx.needs_input_grad) - 3)


def _parts(size: int, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(torch.split(tensor, size) for tensor in tensors), strict=True))
