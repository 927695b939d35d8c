"""What answers images: a network that is shown views of them, or one that was exported and takes them as they are.

Shape letters: N images, M windows of one, A windows of some images, K classes, H W pixels of an image, S T height and
width of a view, h w cells of a map; 9 numbers cut a window.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.functional.views import Pixels, View
from taskdistill.tasks.problems.problem import Joined, Problem


class Cut(NamedTuple):
    """An image as a network is shown it."""

    size: tuple[int, int]
    """Height and width of the image."""
    views_M9: View
    pixels_MST3: Pixels


class Network(Protocol):
    """A network that answers images of any size."""

    @property
    def problem(self) -> Problem: ...

    @property
    def images_at_once(self) -> int:
        """How many images are cut together before they are shown: what waits for the network is held in memory."""
        ...

    def cut(self, pixels_HW3: Pixels) -> Cut:
        """Cut what is shown of a uint8 RGB image; for any number of threads."""
        ...

    def said(self, cut: Sequence[Cut]) -> Iterator[Joined]:
        """Yield what is said of each of these images."""
        ...

    def logits(self, pixels_HW3: Pixels) -> npt.NDArray[np.float32]:
        """Return the logits of one image, [K] or [K, h, w], not yet divided by the temperature."""
        ...


class InWindows:
    """A model as it was scored: in windows, of which at most `batch_size` are shown to it together."""

    def __init__(self, deployable: Deployable, settings: WindowSettings, batch_size: int) -> None:
        self.problem = deployable.problem
        self.images_at_once = 1 if settings.show == "sliding" else batch_size
        self._deployable, self._settings, self._batch_size = deployable, settings, batch_size

    def cut(self, pixels_HW3: Pixels) -> Cut:
        size = pixels_HW3.shape[0], pixels_HW3.shape[1]
        views_M9 = self._deployable.windows(*size, self._settings)
        see = self._deployable.preprocessing
        return Cut(size, views_M9, np.array([see.cut(pixels_HW3, view_9) for view_9 in views_M9]))

    def said(self, cut: Sequence[Cut]) -> Iterator[Joined]:
        for one, outputs in zip(cut, self._outputs(cut), strict=True):
            yield self.problem.joined(outputs, one.views_M9, *one.size)

    def logits(self, pixels_HW3: Pixels) -> npt.NDArray[np.float32]:
        shown_1ST3 = self._deployable.shown(pixels_HW3)[None]
        return np.asarray(self._deployable.outputs(shown_1ST3)[0].cpu().numpy(), np.float32)

    def _outputs(self, cut: Sequence[Cut]) -> Iterator[Tensor]:
        """Yield the outputs for the windows of each image."""
        whole = all(len(one.views_M9) == 1 for one in cut)
        groups = [cut] if whole else [[one] for one in cut]
        for group in groups:
            if not group:
                return
            windows_AST3 = np.concatenate([one.pixels_MST3 for one in group])
            parts = [
                self._where_it_is_answered(self._deployable.outputs(windows_AST3[start : start + self._batch_size]))
                for start in range(0, len(windows_AST3), self._batch_size)
            ]
            yield from torch.split(torch.cat(parts), [len(one.views_M9) for one in group])

    def _where_it_is_answered(self, outputs: Tensor) -> Tensor:
        """Vectors are brought to the CPU, a batch at a time; maps stay where they can be enlarged fast."""
        return outputs.cpu() if self.problem.output_axes == 1 else outputs
