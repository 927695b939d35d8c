"""How long an answer takes: from uint8 images in memory to answers in memory, warm, one batch after the other.

Medians and 95th percentiles of the time on the wall. They mean something only where nothing else is at work: how busy
the machine was is part of what is returned.

Shape letters: N images of one size, H W their pixels.
"""

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from taskdistill.configs.choices import EXPORT_RUNNERS, load
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.target import ExportError, opened
from taskdistill.tasks.export.tried import Answers, Run
from taskdistill.tasks.functional.views import Pixels

BATCHES = (1, 32)


class Effort(NamedTuple):
    """How often an answer is asked for."""

    warm_up: int
    """Passes before any is timed: the first ones choose kernels and fill caches."""
    least: int
    most: int
    """Passes that are timed, of which there are more than `least` only within `seconds`."""
    seconds: float


THOROUGH, BRIEF = Effort(3, 20, 300, 3.0), Effort(3, 3, 30, 1.0)
PILLOW = "store (torch)"
"""The model as it lies in the store: images are cut by Pillow and go through torch."""

RunOf = Callable[[torch.device, int], Run]
"""Device and threads -> what runs a network there."""


class Latency(NamedTuple):
    """Of one form of a model, under which conditions."""

    form: str
    device: str
    threads: int
    """0: on a GPU, where they are of no matter."""
    batch: int
    p50_ms: float
    p95_ms: float
    passes: int


class Form(NamedTuple):
    """One form of a model."""

    name: str
    run_of: RunOf


def form_in_store(artifact: Path) -> Form:
    """Return the model as it lies in the store."""
    return Form(PILLOW, functools.partial(_in_store, artifact))


def exported_form(folder: Path) -> Form:
    """Return that of an exported folder; ExportError where nothing here runs it, or a file of it is not as it was."""
    record = opened(folder)
    if record.target not in EXPORT_RUNNERS:
        raise ExportError(
            f"{folder} was exported to {record.target}, which runs the network that the store has, by other programs: "
            f"latency is measured of {', '.join(EXPORT_RUNNERS)}"
        )
    precision = "" if record.precision == "fp32" else f" {record.precision}"
    return Form(
        f"{record.target}{precision} ({folder.name})", functools.partial(load(EXPORT_RUNNERS, record.target), folder)
    )


def _in_store(artifact: Path, device: torch.device, threads: int) -> Run:
    if threads:
        torch.set_num_threads(threads)
    return functools.partial(_answer, Deployable.load(artifact, device))


def measured_alone(deployable: Deployable, threads: int, effort: Effort = BRIEF) -> Latency:
    """Return the latency of a network that is loaded, for single images of the size that it sees."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        run = functools.partial(_answer, deployable)
        return _latency(PILLOW, deployable.device, threads, _passes(run, 1, deployable.preprocessing.size, effort))
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _answer(deployable: Deployable, images_NHW3: Pixels) -> Answers:
    outputs = deployable.outputs(np.stack([deployable.shown(image_HW3) for image_HW3 in images_NHW3]))
    return tuple(answer.cpu().numpy() for answer in deployable.answering()(outputs, *images_NHW3.shape[1:3]))


def measured(form: Form, height: int, width: int) -> Iterator[Latency]:
    """Yield the latency for images of this size, of each batch on each device that there is, with one thread and all.

    Raises ExportError where the form cannot compute on a CPU.
    """
    before = torch.get_num_threads()
    try:
        for device, threads in _places():
            try:
                run = form.run_of(device, threads)
            except ExportError:
                if device.type == "cpu":
                    raise
                continue  # such as an ONNX Runtime without CUDA
            for batch in BATCHES:
                yield _latency(form.name, device, threads, _passes(run, batch, (height, width), THOROUGH))
    finally:
        torch.set_num_threads(before)  # of whoever calls: it is a setting of the whole process


def _places() -> list[tuple[torch.device, int]]:
    all_threads = num_cores()
    places = [(torch.device("cpu"), threads) for threads in sorted({1, all_threads})]
    return places + ([(torch.device("cuda"), 0)] if torch.cuda.is_available() else [])


def busy() -> float:
    """Return how many processes, this one aside, wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]


class _Passes(NamedTuple):
    batch: int
    seconds: list[float]


def _passes(run: Run, batch: int, size: tuple[int, int], effort: Effort) -> _Passes:
    """Ask for answers; the answer lies in memory when `run` returns."""
    images_NHW3 = np.random.default_rng(0).integers(0, 256, (batch, *size, 3), np.uint8)
    for _ in range(effort.warm_up):
        run(images_NHW3)
    seconds: list[float] = []
    end = time.monotonic() + effort.seconds
    while len(seconds) < effort.least or (len(seconds) < effort.most and time.monotonic() < end):
        began = time.perf_counter()
        run(images_NHW3)
        seconds.append(time.perf_counter() - began)
    return _Passes(batch, seconds)


def _latency(form: str, device: torch.device, threads: int, passes: _Passes) -> Latency:
    p50, p95 = (round(float(np.percentile(passes.seconds, share)) * 1000, 3) for share in (50, 95))
    return Latency(form, _named(device), threads, passes.batch, p50, p95, len(passes.seconds))


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
