"""Painting batch by batch, in batches that fit the device's memory.

Shape letters: N pairs, n of them in a batch, D embedding width, S side of a blend.
"""

import logging
import statistics
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from taskdistill.configs.generation import BlendSettings
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.generators.generator import Generator
from taskdistill.tasks.memory import OutOfMemoryError, is_out_of_memory

log = logging.getLogger(__name__)


class BatchedSampler:
    """A generator and the batch size it works at, which is halved when memory does not suffice and stays so."""

    def __init__(self, generator: Generator, settings: BlendSettings, batch_size: int) -> None:
        self._generator, self._settings = generator, settings
        self.batch_size = batch_size
        self._speeds: list[float] = []

    def paint(self, embeddings_N2D: Tensor, seeds: Sequence[int]) -> Iterator[tuple[slice, Pixels]]:
        """Yield blends uint8 [n, S, S, 3] of all pairs in order, and which of them they are.

        Raises OutOfMemoryError where there is not enough for one at a time.
        """
        start = 0
        while start < len(seeds):
            part = slice(start, min(start + self.batch_size, len(seeds)))
            began = time.perf_counter()
            blends_nSS3 = self._try(embeddings_N2D[part], seeds[part])
            if blends_nSS3 is None:  # the error is gone by now, and with it the activations of the pass that failed
                self._halve()
                continue
            # A batch that failed is not timed: what it cost is not the speed of the size that goes on.
            self._speeds.append(len(blends_nSS3) / (time.perf_counter() - began))
            yield part, blends_nSS3
            start = part.stop

    def images_per_second(self) -> float:
        """Return the median over batches."""
        return statistics.median(self._speeds) if self._speeds else 0.0

    def _try(self, embeddings_n2D: Tensor, seeds: Sequence[int]) -> Pixels | None:
        """Return the blends, or None where memory does not suffice for so many."""
        try:
            return self._generator.blend(embeddings_n2D, seeds, self._settings)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self.batch_size == 1:
                raise OutOfMemoryError(
                    f"there is not enough memory to paint one image of {self._settings.side_px} px ({error}): set "
                    "generator.precision=fp16 or a smaller blends.side_px; finished shards are kept"
                ) from error
            return None

    def _halve(self) -> None:
        log.warning(
            "out of memory painting %d images at a time: going on with %d. Set runtime.generation_batch_size=%d to "
            "begin there", self.batch_size, self.batch_size // 2, self.batch_size // 2,
        )  # fmt: skip
        self.batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
