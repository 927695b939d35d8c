"""Lets mmsegmentation import beside mmcv-lite, which has no compiled operators.

`mmseg.models` and `mmseg.apis` import five names from `mmcv.ops` at their top. One is ordinary torch and stands here as
it is there; the others belong to heads and a loss that cannot work without the compiled package, and say so when used.

Shape letters: N images, C channels, H W cells of a map, P points.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any

from torch import Tensor
from torch.nn.functional import grid_sample

from taskdistill.tasks.models.torchvision_ops import make_importable

NAME = "mmcv.ops"


def prepare() -> None:
    """Make mmsegmentation importable, before anything of it is: beside a torchvision of another build than torch, and
    beside mmcv-lite, where a stand-in takes the place of `mmcv.ops`.
    """
    make_importable()
    # mmcv-lite ships the Python files of its operators too; what it lacks is the extension that they all load.
    if NAME in sys.modules or importlib.util.find_spec("mmcv") is None or importlib.util.find_spec("mmcv._ext"):
        return
    stand_in: Any = ModuleType(NAME, "What mmsegmentation imports of mmcv.ops, without compiled operators.")
    stand_in.point_sample = point_sample
    stand_in.sigmoid_focal_loss = sigmoid_focal_loss
    # What these heads do themselves where the operators cannot be imported: they refuse when one is built.
    stand_in.CrissCrossAttention = stand_in.PSAMask = None
    sys.modules[NAME] = stand_in


def point_sample(input: Tensor, points: Tensor, align_corners: bool = False, **options: Any) -> Tensor:
    """Return what a map [N, C, H, W] has at points [N, P, 2] or [N, H, W, 2], x before y, as shares 0..1 of its sides:
    [N, C, P] or [N, C, H, W]. The names of the parameters are mmcv's.
    """
    is_list = points.dim() == 3
    grid = points.unsqueeze(2) if is_list else points
    sampled = grid_sample(input, 2 * grid - 1, align_corners=align_corners, **options)
    return sampled.squeeze(3) if is_list else sampled


def sigmoid_focal_loss(*_: Any, **__: Any) -> Tensor:
    """Raise NotImplementedError: the loss is a compiled operator."""
    raise NotImplementedError(
        "the focal loss of mmcv is a compiled operator, and mmcv-lite has none: install mmcv (not mmcv-lite), or set "
        "another loss_decode in the configuration"
    )
