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
PILLOW = "store (torch)"
"""The model as it lies in the store: images are cut by Pillow and go through torch."""

RunOf = Callable[[torch.device, int], Run]
"""Device and threads -> what runs a network there."""


class Passes(NamedTuple):
    """How often a model is asked: as long as `seconds` allow, within these numbers."""

    warm_up: int
    fewest: int
    most: int
    seconds: float


THOROUGH, SHORT = Passes(3, 20, 300, 3.0), Passes(2, 5, 100, 1.0)


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
                seconds = _seconds(run, _noise(batch, height, width), THOROUGH)
                p50, p95 = (float(np.percentile(seconds, share)) * 1000 for share in (50, 95))
                yield Latency(form.name, _named(device), threads, batch, round(p50, 3), round(p95, 3), len(seconds))
    finally:
        torch.set_num_threads(before)  # of whoever calls: it is a setting of the whole process


def of_one_image(form: Form, height: int, width: int) -> float:
    """Return the median in ms for one image of this size, on one thread of the CPU; takes a second or five passes."""
    before = torch.get_num_threads()
    try:
        seconds = _seconds(form.run_of(torch.device("cpu"), 1), _noise(1, height, width), SHORT)
    finally:
        torch.set_num_threads(before)  # of whoever calls: it is a setting of the whole process
    return round(float(np.median(seconds)) * 1000, 3)


def _places() -> list[tuple[torch.device, int]]:
    all_threads = num_cores()
    places = [(torch.device("cpu"), threads) for threads in sorted({1, all_threads})]
    return places + ([(torch.device("cuda"), 0)] if torch.cuda.is_available() else [])


def busy() -> float:
    """Return how many processes, this one aside, wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]


def _noise(batch: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


def _seconds(run: Run, images_NHW3: Pixels, passes: Passes) -> list[float]:
    # The first passes choose kernels and fill caches; the answer lies in memory when `run` returns.
    for _ in range(passes.warm_up):
        run(images_NHW3)
    seconds: list[float] = []
    end = time.monotonic() + passes.seconds
    while len(seconds) < passes.fewest or (len(seconds) < passes.most and time.monotonic() < end):
        began = time.perf_counter()
        run(images_NHW3)
        seconds.append(time.perf_counter() - began)
    return seconds


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
