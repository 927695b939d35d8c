"""Lets torchvision import beside a torch whose build differs from its own, such as a CPU torch with the ordinary
wheel.

torchvision 0.28 registers shapes for its compiled operators at import, and fails when their library could not be
loaded ("operator torchvision::nms does not exist"). timm and transformers import torchvision but use none of these,
so declaring them without an implementation is enough. Calling one still fails, with torch's own message.
"""

import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[torch.library.Library] = []


def make_importable() -> None:
    """Declare the operators torchvision asks for, only where its own library cannot be loaded."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _kept_alive:
        return
    try:
        for library in sorted(Path(spec.origin).parent.glob("_C*")):
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError:
        declared = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for signature in _SIGNATURES:
            declared.define(signature)  # type: ignore[no-untyped-call]
        _kept_alive.append(declared)
