"""A head that sees vectors.

Shape letters: N samples, D width of a vector.
"""

import torch
from torch import Tensor, nn


class LinearHead(nn.Linear):
    """A linear layer on vectors [N, D], concatenated."""

    def forward(self, *vectors_ND: Tensor) -> Tensor:
        return super().forward(torch.cat(vectors_ND, dim=1))
