"""What is made of a network's outputs for clean views before they are handed over: modules without weights, in
operations that torch.export and ONNX know.

Shape letters: N images, K classes, h w cells of a map, H W pixels of an image.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from taskdistill.tasks.functional.joining import between, blend
from taskdistill.tasks.models.exact_views import clean_box, scalar
from taskdistill.tasks.models.preprocessing import Preprocessing


class Answering(Protocol):
    """Called with outputs [N, ...] for the clean views of images, and the images' height and width: the answers, in
    the order of their names. The first are logits, the class axis second, whose largest is the answer.
    """

    names: tuple[str, ...]
    what: str
    """A sentence that says what they are."""

    def __call__(self, outputs: Tensor, height: int, width: int) -> tuple[Tensor, ...]: ...


class Probabilities(nn.Module):
    """Logits [N, K], and the probabilities that they stand for at a temperature."""

    names = ("logits", "probabilities")
    what = "`logits` are [N, classes], and `probabilities` their softmax at the temperature in `taskdistill.json`."

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self._temperature = temperature

    def forward(self, outputs_NK: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        return outputs_NK, (outputs_NK / self._temperature).softmax(1)


class ClassesOfPixels(nn.Module):
    """Logits [N, K, H, W] on the images' own grid, as `JoinedMap` of the clean view has them, and the class of each
    pixel [N, H, W].
    """

    names = ("logits", "classes")
    what = "`logits` are [N, classes, H, W] on the images' own grid, and `classes` [N, H, W] the class of each pixel."

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._see = preprocessing

    def forward(self, outputs_NKhw: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        device = outputs_NKhw.device
        box = clean_box(self._see, scalar(height, device), scalar(width, device))
        num_rows, num_columns = outputs_NKhw.shape[2:]
        rows = between(torch.arange(height, device=device), box.top, box.height, num_rows)
        columns = between(torch.arange(width, device=device), box.left, box.width, num_columns)
        wide_NKhW = blend(outputs_NKhw.float(), 3, columns, columns.share)
        logits_NKHW = blend(wide_NKhW, 2, rows, rows.share[:, None])
        return logits_NKHW, logits_NKHW.argmax(1)
