"""Arrays on their way to the device, without waiting for it."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on the device, of the same type; on a CPU it is the same memory.

    To a GPU it travels from pinned memory, in its turn among what the GPU still has to do: from other memory torch
    would wait until all of that is done, at every step, and the GPU then until it is told what is next.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    # torch keeps the pinned memory until the copy has been made, and gives it to a later one then.
    return tensor.pin_memory().to(device, non_blocking=True)
