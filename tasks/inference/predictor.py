"""A finished model over whole images, or its outputs for their clean views from a cache: a stream of answers, which a
meter takes one after the other.

Shape letters: M windows of an image, A windows of all images, N windows of a batch, H W pixels; 9 numbers cut a window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.functional.views import CLEAN_VIEW, Pixels, View
from taskdistill.tasks.problems.labelled import WholeImages
from taskdistill.tasks.problems.problem import Joined

Numbers = npt.NDArray[np.int64]


class Predicted(NamedTuple):
    """What a model says of one image."""

    item: int
    """Position among the images asked for."""
    outputs: Joined
    truth: Tensor


class _Batch(NamedTuple):
    """Windows from `start` on that go through the network together, and the truth of each image that they complete."""

    start: int
    pixels_NHW3: Pixels
    truths: dict[int, Tensor]


@torch.inference_mode()
def predict(
    deployable: Deployable,
    images: WholeImages,
    source: ViewSource,
    runtime: RuntimeConfig,
    *,
    windows: WindowSettings | None = None,
    precision: str = "fp32",
) -> Iterator[Predicted]:
    """Yield what the model says of each image, in their order; without `windows`, by the clean view. `source` cuts for
    this model.
    """
    shown = _Shown(deployable, images, source, windows or WindowSettings())
    waiting: list[Tensor] = []
    parts = _parts(len(shown.views_A9), runtime.inference_batch_size)
    for batch in prefetch(shown.load, parts, workers=runtime.workers):
        outputs = deployable.outputs(batch.pixels_NHW3, precision)
        for item, first, last in shown.items(batch.start, batch.start + len(outputs)):
            # The windows of an image may lie in several batches: it is judged when the last of them is there.
            waiting.append(outputs[first - batch.start : last - batch.start])
            if item in batch.truths:
                joined = images.joined(item, torch.cat(waiting), shown.views_of(item))
                yield Predicted(item, joined, batch.truths[item])
                waiting = []


class _Shown:
    """The windows of all images one after the other, known without decoding any image."""

    def __init__(
        self, deployable: Deployable, images: WholeImages, source: ViewSource, settings: WindowSettings
    ) -> None:
        self._images, self._source = images, source
        views = [deployable.windows(*images.size(item), settings) for item in range(len(images.rows))]
        self.views_A9 = np.concatenate([np.empty((0, 9), np.float32), *views])
        self._item_A = np.repeat(np.arange(len(views)), [len(views_M9) for views_M9 in views])
        self._firsts = np.cumsum([0, *(len(views_M9) for views_M9 in views)]).tolist()

    def items(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the images whose windows are among those from start to stop, each with the first and last of these."""
        for item in range(int(self._item_A[start]), int(self._item_A[stop - 1]) + 1):
            yield item, max(start, self._firsts[item]), min(stop, self._firsts[item + 1])

    def views_of(self, item: int) -> View:
        return self.views_A9[self._firsts[item] : self._firsts[item + 1]]

    def load(self, part: Numbers) -> _Batch:
        start, stop = int(part[0]), int(part[-1]) + 1
        pixels_NHW3 = self._source.cut(self._images.rows[self._item_A[part]].tolist(), self.views_A9[part])
        whole = [item for item, _, last in self.items(start, stop) if last == self._firsts[item + 1]]
        return _Batch(start, pixels_NHW3, {item: self._images.truth(item) for item in whole})


def cached(images: WholeImages, cache: ViewCache, *, batch_size: int, device: torch.device) -> Iterator[Predicted]:
    """Yield what a model says of each image by its cached outputs for the clean view; `cache` holds these images in
    their order.

    Raises CacheMismatchError where the clean view of an image is not in the cache.
    """
    for item, outputs in enumerate(clean_outputs(images, cache, batch_size=batch_size, device=device)):
        yield Predicted(item, outputs, images.truth(item))


def clean_outputs(images: WholeImages, cache: ViewCache, *, batch_size: int, device: torch.device) -> Iterator[Joined]:
    """Yield what the cached outputs for the clean view of each image say of it; raises as `cached` does."""
    for items in _parts(len(images.rows), batch_size):
        found = cache.take(items, np.full_like(items, CLEAN_VIEW))
        outputs = torch.from_numpy(found.outputs).to(device).float()
        for place, item in enumerate(items.tolist()):
            yield images.joined(item, outputs[place : place + 1], found.views_N9[place : place + 1])


def _parts(count: int, size: int) -> list[Numbers]:
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
