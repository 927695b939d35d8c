"""A finished model as one network from images to answers, as it is traced for an export.

Shape letters: N images of one size, H W their pixels.
"""

import torch
from torch import Tensor, nn

from tasks.deploy.deployable import Deployable
from tasks.models.exact_views import CleanView
from tasks.problems.answering import Answering

EXAMPLE = (2, 61, 83)
"""Images, height and width of what a network is traced with: no two alike, and none that a view has."""


class ExportedNetwork(nn.Module):
    """uint8 RGB images [N, H, W, 3] -> the problem's answers: the clean view, the network and what is made of its
    outputs.
    """

    answer: Answering

    def __init__(self, deployable: Deployable, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.view = CleanView(deployable.preprocessing)
        # In the order of axes that other programs expect: a traced network would hold the copies of the other one.
        self.network = deployable.model.to(dtype=dtype, memory_format=torch.contiguous_format)
        self.answer = deployable.answering()
        self._dtype = dtype

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        # The view computes in float64, whatever the network does: its bytes are Pillow's.
        outputs = self.network(self.view(images).to(self._dtype)).float()
        return self.answer(outputs, images.shape[1], images.shape[2])


def example() -> Tensor:
    """Return images to trace with, [N, H, W, 3]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (*EXAMPLE, 3), dtype=torch.uint8, generator=generator)
