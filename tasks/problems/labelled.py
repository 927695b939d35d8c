"""Images with their targets: targets joined to the pixels of a view, to outputs that were cached for it, or to what was
said of a whole image.

Distillation, whose views come with the teacher's outputs, joins all three itself (`tasks.stages.distill`).

Shape letters: N views of a batch, M windows of an image, H W pixels; 9 numbers cut a view.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import Half, ViewOutputs
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.functional.views import Pixels, Size, View
from taskdistill.tasks.problems.problem import Joined, Problem, targets_of

Numbers = npt.NDArray[np.int64]


class Labelled(NamedTuple):
    """Views as pixels [N, H, W, 3], and the target of each."""

    pixels_NHW3: Pixels
    targets: npt.NDArray[Any]


class LabelledViews:
    """Views of an image-set, cut for one network, with their targets. For any number of threads."""

    def __init__(self, problem: Problem, source: ViewSource) -> None:
        self.source = source
        self._problem = problem

    def batch(self, rows: Sequence[int], numbers: Sequence[int]) -> Labelled:
        """Return one view of each row; number 0 is the clean view, the augmented ones count from 1."""
        views_N9 = self.source.views(rows, numbers)
        size = self.source.preprocessing.size
        targets = targets_of(self._problem, self.source.images, rows, views_N9, size)
        return Labelled(self.source.cut(rows, views_N9), targets)


class LabelledOutputs(NamedTuple):
    """Cached outputs [N, ...] and the target of the view that each is of."""

    outputs: Half
    targets: npt.NDArray[Any]


class LabelledCache:
    """Cached outputs for some images of a set, joined by image id, with their targets.

    Raises CacheMismatchError where an image has no cached outputs.
    """

    def __init__(
        self, problem: Problem, images: ImageSet, rows: Numbers, outputs: ViewOutputs, *, size: Size, budget_mb: int
    ) -> None:
        self._problem, self._images, self._rows, self._size = problem, images, rows, size
        self._cache = ViewCache(outputs, [images.ids[row] for row in rows], budget_mb=budget_mb)

    def take(self, items: Numbers, numbers: Numbers) -> LabelledOutputs:
        """Return one view of each item, a position among the rows; `numbers` are the views."""
        cached = self._cache.take(items, numbers)
        # Of the view as it was cut then, at the size it had then: a dense target is cut as its image was.
        targets = targets_of(self._problem, self._images, self._rows[items], cached.views_N9, self._size)
        return LabelledOutputs(cached.outputs, targets)


class WholeImages:
    """Some images of a set, to be judged as wholes: the answer to each, with the truth.

    An item is a position among `rows`. For any number of threads.
    """

    def __init__(self, problem: Problem, images: ImageSet, rows: Numbers) -> None:
        self.rows = rows
        self._problem, self._images = problem, images

    def size(self, item: int) -> Size:
        """Return height and width of an image, without decoding it."""
        row = self.rows[item]
        return int(self._images.heights[row]), int(self._images.widths[row])

    def joined(self, item: int, outputs: Tensor, views_M9: View) -> Joined:
        """Return what outputs [M, ...] for these views of an image are together."""
        return self._problem.joined(outputs, views_M9, *self.size(item))

    def truth(self, item: int) -> Tensor:
        """Return what the image is judged against, as a batch of one."""
        return torch.from_numpy(self._problem.truth(self._images, int(self.rows[item]))[None])
