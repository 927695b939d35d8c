"""A model's answers to images without labels, in batches: threads decode and cut ahead of the network, and what is held
does not grow with the number of images.

Shape letters: H W pixels.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.image_set import Levels
from taskdistill.tasks.data.decode import NoLevelsError, decode_rgb
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.deploy.networks import Cut, Network
from taskdistill.tasks.deploy.sources import Wanted
from taskdistill.tasks.functional.views import Pixels
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


def answers(
    network: Network, images: Iterable[Wanted], asked: Asked, levels: Levels | None, runtime: RuntimeConfig
) -> Iterator[Answered | Unusable]:
    """Yield what is told of each image, in their order; an image that cannot be read is told with its reason. `levels`
    say how images of more than 8 bits are scaled.

    Raises OutOfMemoryError where the device has no room for a batch.
    """
    loader = _Loader(network, levels, asked, runtime)
    for batch in prefetch(loader.load, _parts(images, loader.images_at_once), workers=runtime.workers):
        with memory_advice():
            yield from _answers_of(network, batch, asked)


class _Seen(NamedTuple):
    """An image as the network is shown it."""

    name: str
    cut: Cut
    small_HW3: Pixels | None


class _Loader:
    """Decodes images and cuts their windows; for any number of threads."""

    def __init__(self, network: Network, levels: Levels | None, asked: Asked, runtime: RuntimeConfig) -> None:
        self._network, self._levels = network, levels
        self._is_pictured = bool(network.problem.answer_form(asked).pictures)
        self._memory = DecodeMemory(runtime.decode_memory_mb)
        at_most = PICTURED_AT_ONCE if self._is_pictured else network.images_at_once
        self.images_at_once = min(network.images_at_once, at_most)

    def load(self, images: Sequence[Wanted]) -> list[_Seen | Unusable]:
        return [self._seen(image) for image in images]

    def _seen(self, image: Wanted) -> _Seen | Unusable:
        try:
            pixels_HW3 = decode_rgb(image.file.read_bytes(), self._levels, memory=self._memory)
        except FileNotFoundError:
            return Unusable(image.name, "it is not there, or no longer")
        except (UnreadableImageError, DecodeMemoryError) as error:
            return Unusable(image.name, str(error))
        except NoLevelsError:
            return Unusable(image.name, "it has more than 8 bits a channel, and the model was trained on none that has")
        except OSError as error:
            return Unusable(image.name, f"it cannot be read: {error.strerror or error}")
        return _Seen(image.name, self._network.cut(pixels_HW3), _small(pixels_HW3) if self._is_pictured else None)


def _answers_of(network: Network, batch: Sequence[_Seen | Unusable], asked: Asked) -> Iterator[Answered | Unusable]:
    """Show the network some images together, and answer for each."""
    said = network.said([one.cut for one in batch if isinstance(one, _Seen)])
    for one in batch:
        if isinstance(one, Unusable):
            yield one
        else:
            yield Answered(one.name, network.problem.answer(next(said), asked, one.small_HW3))


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
