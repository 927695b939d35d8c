"""Weights that were made elsewhere: a safetensors file in any floating point type, read as float32."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from taskdistill.storage.weight_formats import check_weights, readable


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, half precision widened to float32, everything else as it is.

    Raises WeightFileError where the file cannot be read as weights, naming what it is instead.
    """
    check_weights(path)
    with readable(path):
        tensors = load_file(path)
    return {name: _widened(tensor) for name, tensor in tensors.items()}


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def not_finite(tensors: dict[str, Tensor]) -> list[str]:
    """Return the names of tensors in which a number is NaN or infinite."""
    return [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
