"""A worker process that cuts views, seen from inside: what `tasks.data.processes` has it do.

It does one thing after another. Pixels are written where the process that asks sees them, in memory that both share;
what is said between the two is a few numbers.

Shape letters: B buffers, N views of a buffer, H W pixels; 9 numbers cut a view.
"""

import itertools
import math
import os
import signal
import threading
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from taskdistill.configs.data import ViewSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.kept_views import KeptViews, TablePlace
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.data.decode_memory import DecodeMemoryError
from taskdistill.tasks.functional.views import Pixels, View
from taskdistill.tasks.models.device import keep_freed_memory
from taskdistill.tasks.models.preprocessing import Preprocessing

IDLE, STARTING = 0, -1
"""What a process is at where it is at no call; calls have numbers from 1 on."""


class Opening(NamedTuple):
    """What a source of views is made of, for any process to open it; memory in MiB."""

    folder: Path
    settings: ViewSettings
    preprocessing: Preprocessing
    images_mb: int
    """For images that are kept decoded."""
    views_mb: int
    """For views that are kept."""
    ahead_mb: int
    """For views that are cut ahead."""
    decode_mb: int
    """For images while they are decoded."""
    on_disk: TablePlace | None
    """Where views are kept for other steps."""

    def of_images(self, images: ImageSet) -> ViewSource:
        decoded = DecodedImages(images, cache_mb=self.images_mb, decode_mb=self.decode_mb)
        memory = {"views_mb": self.views_mb, "ahead_mb": self.ahead_mb}
        return ViewSource(decoded, self.settings, self.preprocessing, **memory, on_disk=self.kept_views())

    def kept_views(self) -> KeptViews | None:
        """Open the table of views on the disk, where there is to be one."""
        return KeptViews.open(self.on_disk, view_bytes(self.preprocessing)) if self.on_disk else None

    def shared_by(self, count: int) -> "Opening":
        """Return the same with the memory that each of so many processes has; some of it for decoding in any case."""
        names = ("images_mb", "views_mb", "ahead_mb", "decode_mb")
        share = self._replace(**{name: getattr(self, name) // count for name in names})
        return share._replace(decode_mb=max(1, share.decode_mb))


class _Process(NamedTuple):
    """What this process works with."""

    source: ViewSource
    buffers_BNHW3: Pixels
    at_work: MutableSequence[int]
    place: int
    """Among `at_work`, of this process."""

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """Note the number of a call while it is worked at, where the process that asked sees it."""
        self.at_work[self.place] = number
        try:
            yield
        finally:
            self.at_work[self.place] = IDLE


_here: list[_Process] = []
"""One, in a worker process: a function that another process calls finds nothing but what its module holds."""


def start(opening: Opening, memory: Any, num_views: int, at_work: MutableSequence[int], place: int) -> None:
    """Open the images; `memory` is that of the buffers, of so many views each; `at_work[place]` is where this process
    notes what it is at.
    """
    # Ctrl-C reaches all processes of a terminal: the one that asked ends this one when it has ended its own work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(1)  # as there are as many processes as cores
    source = opening.of_images(ImageSet.open(opening.folder))
    _here[:] = [_Process(source, as_buffers(memory, num_views, opening.preprocessing), at_work, place)]
    at_work[place] = IDLE


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended; else it would wait for ever."""
    if (parent := parent_process()) is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def as_buffers(memory: Any, num_views: int, preprocessing: Preprocessing) -> Pixels:
    """Return shared memory as buffers [B, N, H, W, 3]."""
    return np.frombuffer(memory, np.uint8).reshape(-1, num_views, *preprocessing.size, 3)


def view_bytes(preprocessing: Preprocessing) -> int:
    return math.prod(preprocessing.size) * 3


def cut(number: int, buffer: int, places: Sequence[int], rows: Sequence[int], views_N9: View) -> list[int]:
    """Cut views into these places of a buffer; returns the places of those whose image needs more memory to decode
    than this process has. Raises CorruptArtifactError where an image cannot be decoded.
    """
    [here] = _here
    refused = list[int]()
    with here.at(number):
        for row, group in itertools.groupby(zip(rows, places, views_N9, strict=True), key=lambda one: one[0]):
            _, its_places, its_views = zip(*group, strict=True)
            try:
                pixels_NHW3 = here.source.cut([row] * len(its_places), np.stack(its_views))
            except DecodeMemoryError:
                refused += its_places
            else:
                here.buffers_BNHW3[buffer, list(its_places)] = pixels_NHW3
    return refused


def cut_ahead(number: int, rows: Sequence[int], views: Sequence[int]) -> None:
    with _here[0].at(number):
        _here[0].source.cut_ahead(rows, views)


def forget_pixels(number: int, rows: Sequence[int]) -> None:
    with _here[0].at(number):
        _here[0].source.forget_pixels(rows)
