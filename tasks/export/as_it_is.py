"""Exported networks that take images as they are, of any size: what runs them, as a network that answers images.

Shape letters: N images of one size, M S T windows and their size, here the image itself, K classes, H W pixels, h w
cells of a map; 9 numbers cut a window.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from taskdistill.configs.choices import EXPORT_RUNNERS, load
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.deploy.networks import Cut
from taskdistill.tasks.export.record import FolderRecord
from taskdistill.tasks.export.target import ExportError
from taskdistill.tasks.export.tried import Run
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.problems.problem import Joined, Problem, problem_named


class AsItIs:
    """A network whose first answer is logits [N, K], or [N, K, H, W] on the images' own grid."""

    images_at_once = 1
    """They come whole, each of its own size."""

    def __init__(self, run: Run, problem: Problem) -> None:
        self.problem = problem
        self._run = run

    def cut(self, pixels_HW3: Pixels) -> Cut:
        height, width = pixels_HW3.shape[:2]
        whole_19 = np.asarray([[0, 0, height, width, 0, 1, 1, 1, 0]], np.float32)
        return Cut((height, width), whole_19, pixels_HW3[None])

    def said(self, cut: Sequence[Cut]) -> Iterator[Joined]:
        for one in cut:
            logits = torch.from_numpy(np.asarray(self._run(one.pixels_MST3)[0], np.float32))
            yield self.problem.joined(logits, one.views_M9, *one.size)

    def logits(self, pixels_HW3: Pixels) -> npt.NDArray[np.float32]:
        return np.asarray(self._run(pixels_HW3[None])[0][0], np.float32)


def network_of(folder: Path, record: FolderRecord, runtime: RuntimeConfig) -> AsItIs:
    """Return the network of a folder; ExportError where it cannot compute on the device that was asked for."""
    run_of, device = load(EXPORT_RUNNERS, record.target), device_of(runtime)
    try:
        run = run_of(folder, device, runtime.threads)
    except ExportError:
        if runtime.device != "auto" or device.type == "cpu":
            raise
        run = run_of(folder, torch.device("cpu"), runtime.threads)  # such as an ONNX Runtime without CUDA
    return AsItIs(run, problem_named(record.problem))
