"""A model's answers to images without labels, in batches: threads decode and cut ahead of the network, and what is held
does not grow with the number of images.

Shape letters: N images, A windows of some images, M windows of one, K classes, H W pixels, S T height and width of a
view; 9 numbers cut a window.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from taskdistill.configs.base import RuntimeConfig
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import NoLevelsError, decode_rgb
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.deploy.sources import Wanted
from taskdistill.tasks.functional.views import Pixels, View, replay
from taskdistill.tasks.memory import memory_advice
from taskdistill.tasks.problems.answers import Answer, Asked

SMALL_PX = 1024
"""Longer side of the picture that is kept of an image whose answer is drawn over it: the whole may have 50 million
pixels, and dozens wait for the network.
"""
PICTURED_AT_ONCE = 8
"""Images that a thread decodes at a time where such a picture is kept of each."""


class Unusable(NamedTuple):
    """An image that cannot be predicted, and why."""

    name: str
    reason: str


class Answered(NamedTuple):
    """What is told of an image."""

    name: str
    answer: Answer


class Shown(NamedTuple):
    """How a model is shown images: as it was when it was scored."""

    windows: WindowSettings = WindowSettings()
    levels: Levels | None = None
    """How images of more than 8 bits are scaled."""


def answers(
    deployable: Deployable, images: Iterable[Wanted], asked: Asked, shown: Shown, runtime: RuntimeConfig
) -> Iterator[Answered | Unusable]:
    """Yield what is told of each image, in their order; an image that cannot be read is told with its reason.

    Raises OutOfMemoryError where the device has no room for a batch.
    """
    loader = _Loader(deployable, shown, asked, runtime)
    for batch in prefetch(loader.load, _parts(images, loader.images_at_once), workers=runtime.workers):
        with memory_advice():
            yield from _answers_of(deployable, batch, asked, runtime.inference_batch_size)


class _Seen(NamedTuple):
    """An image as the network is shown it."""

    name: str
    size: tuple[int, int]
    views_M9: View
    cut_MST3: Pixels
    small_HW3: Pixels | None


class _Loader:
    """Decodes images and cuts their windows; for any number of threads."""

    def __init__(self, deployable: Deployable, shown: Shown, asked: Asked, runtime: RuntimeConfig) -> None:
        self._problem, self._see, self._shown = deployable.problem, deployable.preprocessing, shown
        self._is_pictured = bool(deployable.problem.answer_form(asked).pictures)
        self._memory = DecodeMemory(runtime.decode_memory_mb)
        at_most = PICTURED_AT_ONCE if self._is_pictured else runtime.inference_batch_size
        is_in_windows = shown.windows.show == "sliding"
        self.images_at_once = 1 if is_in_windows else min(runtime.inference_batch_size, at_most)

    def load(self, images: Sequence[Wanted]) -> list[_Seen | Unusable]:
        return [self._seen(image) for image in images]

    def _seen(self, image: Wanted) -> _Seen | Unusable:
        try:
            pixels_HW3 = decode_rgb(image.file.read_bytes(), self._shown.levels, memory=self._memory)
        except FileNotFoundError:
            return Unusable(image.name, "it is not there, or no longer")
        except (UnreadableImageError, DecodeMemoryError) as error:
            return Unusable(image.name, str(error))
        except NoLevelsError:
            return Unusable(image.name, "it has more than 8 bits a channel, and the model was trained on none that has")
        except OSError as error:
            return Unusable(image.name, f"it cannot be read: {error.strerror or error}")
        size = pixels_HW3.shape[0], pixels_HW3.shape[1]
        views_M9 = self._problem.windows(*size, self._see, self._shown.windows)
        cut_MST3 = np.stack([replay(pixels_HW3, view, self._see.size, self._see.interpolation) for view in views_M9])
        return _Seen(image.name, size, views_M9, cut_MST3, _small(pixels_HW3) if self._is_pictured else None)


def _answers_of(
    deployable: Deployable, batch: Sequence[_Seen | Unusable], asked: Asked, batch_size: int
) -> Iterator[Answered | Unusable]:
    """Show the network the windows of some images together, and answer for each image."""
    seen = [one for one in batch if isinstance(one, _Seen)]
    said = _said(deployable, [one.cut_MST3 for one in seen], batch_size)
    for one in batch:
        if isinstance(one, Unusable):
            yield one
            continue
        joined = deployable.problem.joined(next(said), one.views_M9, *one.size)
        yield Answered(one.name, deployable.problem.answer(joined, asked, one.small_HW3))


def _said(deployable: Deployable, cut: Sequence[Pixels], batch_size: int) -> Iterator[Tensor]:
    """Yield what the network says of the windows of each image, at most so many of which are shown to it together."""
    whole = all(len(one) == 1 for one in cut)
    groups = [cut] if whole else [[one] for one in cut]
    for group in groups:
        if not group:
            return
        windows_AST3 = np.concatenate(group)
        parts = [
            _where_it_is_answered(deployable, deployable.outputs(windows_AST3[start : start + batch_size]))
            for start in range(0, len(windows_AST3), batch_size)
        ]
        yield from torch.split(torch.cat(parts), [len(one) for one in group])


def _where_it_is_answered(deployable: Deployable, outputs: Tensor) -> Tensor:
    """Vectors are brought to the CPU, a batch at a time; maps stay where they can be enlarged fast."""
    return outputs.cpu() if deployable.problem.output_axes == 1 else outputs


def _small(pixels_HW3: Pixels) -> Pixels:
    height, width = pixels_HW3.shape[:2]
    share = min(1.0, SMALL_PX / max(height, width))
    if share == 1:
        return pixels_HW3
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(pixels_HW3).resize(size, Image.Resampling.BOX))


def _parts(images: Iterable[Wanted], size: int) -> Iterator[list[Wanted]]:
    waiting = iter(images)
    while part := list(itertools.islice(waiting, size)):
        yield part
