"""A finished model as one network from images to answers, as it is traced for an export.

Shape letters: N images of one size, H W their pixels.
"""

import copy

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import ExportedProgram

from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.target import ExportError
from taskdistill.tasks.memory import is_out_of_memory
from taskdistill.tasks.models.exact_views import FILTERS, CleanView
from taskdistill.tasks.problems.traced_answers import Answering

EXAMPLE = (2, 61, 83)
"""Images, height and width of what a network is traced with: no two alike, and none that a view has."""


TRACING_ERRORS = (UserError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError)
"""What torch raises where an operation, or a branch on a value, cannot be traced."""


class ExportedNetwork(nn.Module):
    """uint8 RGB images [N, H, W, 3] -> the problem's answers: the clean view, the network and what is made of its
    outputs. Raises ExportError where images are resized in a way that is not known.
    """

    answer: Answering

    def __init__(self, deployable: Deployable, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if (interpolation := deployable.preprocessing.interpolation) not in FILTERS:
            raise ExportError(
                f"images are resized by {interpolation!r}, which an exported network does not know (known: "
                f"{', '.join(FILTERS)}): set interpolation of the student to one of these, and train it again"
            )
        self.view = CleanView(deployable.preprocessing)
        # In the order of axes that other programs expect: a traced network would hold the copies of the other one.
        # Of a copy: the model itself is what the exported one is compared with.
        self.network = copy.deepcopy(deployable.model).to(  # type: ignore[call-overload]
            dtype=dtype, memory_format=torch.contiguous_format
        )
        self.answer = deployable.answering()
        self._dtype = dtype

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        # The view computes in float64, whatever the network does: its bytes are Pillow's.
        outputs = self.network(self.view(images).to(self._dtype)).float()
        return self.answer(outputs, images.shape[1], images.shape[2])


def traced(network: ExportedNetwork) -> ExportedProgram:
    """Return the network as a program for any number of images of any height and width.

    Raises ExportError where torch cannot trace it. Nothing in it tells where this program lies.
    """
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate("NHW")}
    try:
        program = torch.export.export(network, (example(),), dynamic_shapes={"images": sizes}, strict=False)
    except TRACING_ERRORS as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise ExportError(
            f"torch cannot trace this network for images of any size ({type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}): it cannot be exported in this form"
        ) from error
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # it names files by their whole paths
    return program


def example() -> Tensor:
    """Return images to trace with, [N, H, W, 3]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (*EXAMPLE, 3), dtype=torch.uint8, generator=generator)
