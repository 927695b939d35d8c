"""Heads that see the same inputs, in training: each by itself, or their weights stacked so that one product gives the
outputs of all.

Shape letters: N samples, G heads, K classes, D width of what they see.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.models.linear_head import LinearHead
from taskdistill.tasks.problems.problem import Problem

MAX_STACKED_CLASSES = 256
"""Up to here heads are stacked. Few classes make a thin product, which does not fill the processor; with many a head's
own product does, and its weights stay in the processor's cache while those of all do not. One thread, 13 heads, D 1280,
N 256, CPU ms a step one by one and stacked (as tests/benchmarks/probing.py measures):

    10 classes  10.9   5.2      200  68.5  60.7      500  183  178
    100         40.8  34.6      300   115   116     1000  307  406
"""


class Heads(Protocol):
    """Heads of one kind and one shape."""

    def backward(self, problem: Problem, inputs: Sequence[Tensor], targets: Tensor) -> None:
        """Leave in the parameters of each head the gradient of its own mean loss, as if it were alone. They have none
        before.
        """
        ...


def trained_together(heads: Sequence[nn.Module]) -> Heads:
    """Return heads that see the same inputs in the form whose steps are cheapest.

    Where they are stacked their parameters are replaced, so that an optimiser is to be given them afterwards. Both
    forms compute the same up to the rounding of a product, as another number of threads does: MAX_STACKED_CLASSES may
    change without another Stage.version.
    """
    linear_heads = [head for head in heads if isinstance(head, LinearHead)]
    if len(linear_heads) < len(heads) or len(heads) == 1 or linear_heads[0].out_features > MAX_STACKED_CLASSES:
        return HeadsOneByOne(heads)
    return StackedHeads(linear_heads)


class HeadsOneByOne:
    """Heads of any kind."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        self._heads = heads

    def backward(self, problem: Problem, inputs: Sequence[Tensor], targets: Tensor) -> None:
        # Their gradients do not meet, so that the sum of the losses trains each head as if it were alone.
        losses = [problem.task_loss(head(*inputs), targets).mean() for head in self._heads]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


class StackedHeads:
    """Linear heads whose parameters are slices of one weight [G * K, D] and one bias [G * K], as their gradients are.

    To optimisers and checkpoints they are the parameters of single heads: each keeps its own learning rate.
    """

    def __init__(self, heads: Sequence[LinearHead]) -> None:
        self._heads = heads
        self._weight = torch.cat([head.weight.detach() for head in heads]).requires_grad_()
        self._bias = torch.cat([head.bias.detach() for head in heads]).requires_grad_()
        for head, weight_KD, bias_K in zip(heads, *self._slices(self._weight, self._bias), strict=True):
            head.weight, head.bias = nn.Parameter(weight_KD), nn.Parameter(bias_K)

    def backward(self, problem: Problem, inputs: Sequence[Tensor], targets: Tensor) -> None:
        num_heads = len(self._heads)
        outputs = linear(torch.cat(list(inputs), dim=1), self._weight, self._bias)
        # What each head says of a sample counts as a sample of its own, [N * G, K], in one sum: no gradient of it
        # reaches another head, not even from one that has diverged. Divided as the loss of one head is.
        outputs = outputs.view(-1, outputs.shape[1] // num_heads)
        total = problem.task_loss(outputs, targets.repeat_interleave(num_heads, dim=0)).total
        loss = Sum(total, problem.num_targets(targets)).mean()
        gradients = self._slices(*torch.autograd.grad(loss, (self._weight, self._bias)))
        for head, weight_KD, bias_K in zip(self._heads, *gradients, strict=True):
            head.weight.grad, head.bias.grad = weight_KD, bias_K

    def _slices(self, weight: Tensor, bias: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the parts of each head."""
        return weight.detach().chunk(len(self._heads)), bias.detach().chunk(len(self._heads))
