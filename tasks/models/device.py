"""The device to compute on, and a process prepared for it: threads of an operation, memory, precision.

On a CPU, glibc is kept from returning large buffers to the kernel after each operation. It maps every allocation above
its threshold (at most 32 MiB when it adapts by itself) from the kernel and unmaps it when freed. The activations of a
convolutional network are that large, so each layer faults its pages in anew: measured with MobileNetV2 1.0 at 224 px,
batch 16, one thread: 54 images/s by default, 133 with freed memory kept.
"""

import ctypes
import platform
from typing import TypeVar

import torch
from torch import nn

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.turns import cpu_turns, take_turn, take_turns

M = TypeVar("M", bound=nn.Module)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of the two settings in glibc's malloc.h."""
_ONE_GIB = 2**30


def device_of(runtime: RuntimeConfig) -> torch.device:
    """Return the device to compute on, and prepare this process for it: threads of an operation, memory; waits for it
    where turns are taken (`tasks.turns`), on the first of several GPUs that is free.

    Raises ModelError where runtime.device is cuda and torch finds no such device.
    """
    torch.set_num_threads(runtime.threads)
    keep_freed_memory()
    device = _chosen(runtime)
    match device.type:
        case "cuda":
            return _gpu_of_its_turn()
        case "mps":
            take_turn("mps", [f"mps-{platform.node()}"], torch.mps.empty_cache)
        case "cpu":
            take_turn("cpu", cpu_turns(runtime.cores), lambda: None)
    return device


def devices_of_ranks(runtime: RuntimeConfig) -> list[torch.device]:
    """Return the device of each rank of a training; waits for all of them where turns are taken.

    Raises ModelError as `check_ranks_have_devices` does.
    """
    check_ranks_have_devices(runtime)
    if _chosen(runtime).type == "cpu":
        return [device_of(runtime)] * runtime.ranks
    places = take_turns("cuda", _names_of_gpus(), torch.cuda.empty_cache, count=runtime.ranks)
    return [torch.device("cuda", place) for place in places or range(runtime.ranks)]


def check_ranks_have_devices(runtime: RuntimeConfig) -> None:
    """Raise ModelError where there are fewer GPUs than ranks of a training, or none of the kind asked for."""
    device = _chosen(runtime)
    if device.type == "cpu" or runtime.ranks == 1:
        return
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if found < runtime.ranks:
        raise ModelError(
            f"runtime.ranks is {runtime.ranks}, each with a GPU of its own, and this process may use {found}: set "
            f"runtime.ranks to {found} or less, or correct CUDA_VISIBLE_DEVICES"
        )


def _gpu_of_its_turn() -> torch.device:
    """Return the GPU whose turn it is, which is from here on the one that "cuda" means in this thread."""
    place = take_turn("cuda", _names_of_gpus(), torch.cuda.empty_cache)
    if place is not None:
        torch.cuda.set_device(place)
    return torch.device("cuda", torch.cuda.current_device())


def _names_of_gpus() -> list[str]:
    # Named by themselves, as processes and containers number what they see.
    return [f"gpu-{torch.cuda.get_device_properties(index).uuid}" for index in range(torch.cuda.device_count())]


def _chosen(runtime: RuntimeConfig) -> torch.device:
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "runtime.device is cuda, but torch sees no CUDA device: set it to auto or cpu, or install torch for CUDA"
        )
    if runtime.device != "auto":
        return torch.device(runtime.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def on_device(module: M, device: torch.device) -> M:
    """Move a network to the device, its convolutions in channels-last order, and return it."""
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that networks on this device draw from, as `torch.manual_seed` seeds all there are."""
    if device.type == "cpu":
        # That one notes where it was called from for each kind of device that is not in use: a millisecond a step.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def keep_freed_memory() -> None:
    """Raise glibc's thresholds for this process; does nothing where there is no glibc."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _ONE_GIB)
    mallopt(_M_TRIM_THRESHOLD, _ONE_GIB)
