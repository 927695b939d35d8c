"""What several models say, joined into what one would say.

Two classical pools of opinions (Genest and Zidek, Combining Probability Distributions, Statistical Science 1, 1986).
Logits that are divided by a temperature later are joined by the logarithmic one alone in the same way before and after:
it is the geometric mean of the softened probabilities too.

Shape letters: M models, N samples, K classes. The class axis is always 1; axes after it, such as height and width, are
kept.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def mean_of_outputs(outputs: Sequence[Tensor], mean_of: str) -> Tensor:
    """Return log-probabilities [N, K, ...] of the mean of several models, given their logits, all of one shape.

    `mean_of`: "log-probabilities" (the geometric mean, made to sum to 1) or "probabilities" (the arithmetic mean).
    Computed in float64: the last bit of what is kept in float16 then depends on no order of summation.
    """
    logs_MNK = torch.stack([one.double().log_softmax(1) for one in outputs])
    if mean_of == "probabilities":
        return logs_MNK.logsumexp(0) - math.log(len(outputs))
    return logs_MNK.mean(0).log_softmax(1)
