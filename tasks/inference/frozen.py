"""A frozen network over all views of an image-set, its outputs written as it goes: the body of extract, of embed and of
precompute-images and precompute-probed.

Three things go on at once: threads cut the next batches, the network computes, and one thread writes finished chunks.
Work is cut at chunks, batches within a chunk, so a run that continues a draft computes the very batches that are
missing. Pixels live as long as their batch and no longer: a chunk of 4096 views at 224 px would be 600 MB of them.

Shape letters: N views of a batch or of a chunk, C channels, H W pixels; 9 numbers cut a view, 64
pixels are its thumbnail.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from taskdistill.configs.base import StageConfig
from taskdistill.storage.view_outputs import Half
from taskdistill.storage.view_writer import Chunk, ViewOutputsWriter
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.threads import in_background, prefetch
from taskdistill.tasks.functional.views import Pixels, View
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.partitions import Partitions, Throughput
from taskdistill.tasks.stage import StageContext

C = TypeVar("C", bound=StageConfig)

Rows = tuple[str, int]
"""The part and the block of a chunk: its rows, which other chunks have in other views."""
BLOCK = 16
"""Images that the convolutions of a CPU compute at once."""


class Span(NamedTuple):
    """Some rows of a chunk: what one forward pass is given, or a part of that."""

    chunk: Chunk
    start: int
    stop: int


class ViewBatch(NamedTuple):
    """What the network is shown, [N, H, W, 3], how it was cut, [N, 9], and the proof of it, [N, 64]."""

    pixels_NHW3: Pixels
    views_N9: View
    thumbnails_N64: Pixels


class Outputs(NamedTuple):
    """What stays of a batch, and of a whole chunk: outputs [N, ...], views [N, 9], thumbnails [N, 64]."""

    outputs: Half
    views_N9: View
    thumbnails_N64: Pixels


def run_frozen(
    network: Callable[[Tensor], Tensor],
    source: ViewSource,
    writer: ViewOutputsWriter,
    chunks: Sequence[Chunk],
    device: torch.device,
    context: StageContext,
) -> Throughput:
    """Compute and write these chunks; returns how many views went through the network.

    A batch never crosses the edge of a chunk, so that it holds the same views whichever chunks are missing: the last
    bits of a network's outputs depend on its batch, and an interrupted run must write the same bytes. But for whole
    chunks that a CPU computes in one block (`_batches`), where they do not.
    """
    batch = context.runtime.inference_batch_size
    batches = _batches(chunks, batch, device)
    # Progress counts what earlier attempts made too, and only as far as this process has been asked to go.
    done = writer.num_written
    total = done + sum(chunk.stop - chunk.start for chunk in chunks)
    views_of: dict[Rows, list[int]] = {}
    for chunk in chunks:
        views_of.setdefault((chunk.part, chunk.block), []).append(chunk.view)
    shown, begun = 0, dict[Rows, Chunk]()
    with in_background(writer.write) as write:
        # Threads cut the next workers + 1 batches: the loop below waits for the network, seldom for pixels.
        load = functools.partial(_view_batch, source, writer, views_of)
        cut = prefetch(load, batches, workers=context.runtime.workers)
        for spans, views in zip(batches, cut, strict=True):
            # All views of some rows come together, then none of those rows again: what is kept, as far as there is
            # room, is of a block of rows, and of those of the next that threads are ahead with.
            begun |= {_block_of(span): span.chunk for span in spans}
            for over in begun.keys() - {_block_of(span) for span in spans}:
                source.forget_pixels(writer.rows_of(begun.pop(over)).tolist())
            outputs = _forward(network, views, source.preprocessing, device, batch)
            new = Outputs(outputs, views.views_N9, views.thumbnails_N64)
            first = 0
            for span in spans:
                rows = slice(first, first := first + span.stop - span.start)
                own = Outputs(new.outputs[rows], new.views_N9[rows], new.thumbnails_N64[rows])
                if span.start == span.chunk.start:
                    whole = _room_for(span.chunk, own)
                _copy(own, whole, span)
                # A chunk is handed over whole and `whole` never touched again, as the thread that writes may lag.
                if span.stop == span.chunk.stop:
                    write(span.chunk, *whole)
            shown += len(outputs)
            context.on_progress("views", done + shown, total)
    return Throughput(shown, 0.0)


def _batches(chunks: Sequence[Chunk], batch_size: int, device: torch.device) -> list[list[Span]]:
    """Cut chunks into batches: each is rows of one chunk, or on a CPU several chunks that are smaller than a block.

    A block is filled up in any case (`_forward`), and what a CPU says of an image is the same to the last bit wherever
    in a block it stands and whatever stands beside it: a chunk of 4 large maps alone would cost four times as much.
    """
    batches: list[list[Span]] = []
    room = 0
    for chunk in chunks:
        size = chunk.stop - chunk.start
        if size < BLOCK <= batch_size and device.type == "cpu":
            if size > room:
                batches.append([])
                room = BLOCK
            batches[-1].append(Span(chunk, chunk.start, chunk.stop))
            room -= size
        else:
            starts = range(chunk.start, chunk.stop, batch_size)
            batches += [[Span(chunk, start, min(start + batch_size, chunk.stop))] for start in starts]
            room = 0
    return batches


def _block_of(span: Span) -> Rows:
    return span.chunk.part, span.chunk.block


class ChunkPartitions(Partitions[C]):
    """Outputs of a frozen network in the making: a partition is a chunk."""

    name = "chunks"
    writer: ViewOutputsWriter

    def missing(self) -> list[int]:
        # Numbers count all chunks, those that are there too: every process numbers them alike, whatever it finds.
        missing = set(self.writer.missing())
        return [number for number, chunk in enumerate(self.writer.chunks()) if chunk in missing]

    def remove_damaged(self) -> list[int]:
        damaged = set(self.writer.remove_damaged())
        return [number for number, chunk in enumerate(self.writer.chunks()) if chunk in damaged]

    def flush(self) -> None:
        self.writer.flush()

    def gather(self) -> None:
        self.writer.gather()

    def chunks(self, numbers: Sequence[int]) -> list[Chunk]:
        every = self.writer.chunks()
        return [every[number] for number in numbers]


def _view_batch(
    source: ViewSource, writer: ViewOutputsWriter, views_of: Mapping[Rows, list[int]], spans: Sequence[Span]
) -> ViewBatch:
    """Cut a batch; `views_of` are the views in which the rows of a block are still to be shown."""
    rows, numbers = list[int](), list[int]()
    for span in spans:
        own = writer.rows_of(span.chunk._replace(start=span.start, stop=span.stop)).tolist()
        if len(views_of[_block_of(span)]) > 1:
            source.cut_ahead(own, views_of[_block_of(span)])
        rows += own
        numbers += [span.chunk.view] * (span.stop - span.start)
    views_N9 = source.views(rows, numbers)
    pixels_NHW3 = source.cut(rows, views_N9)
    # Taken of the pixels that the network is given, not of the file: it proves how this decoder and resampler cut them.
    return ViewBatch(pixels_NHW3, views_N9, source.thumbnails(rows, views_N9, pixels_NHW3))


def _room_for(chunk: Chunk, first: Outputs) -> Outputs:
    """Return arrays for the whole chunk, shaped like those of its first batch.

    A chunk is filled in place: small arrays kept from each batch would lie in the holes that activations leave, so
    that the next activations do not fit there (tiny ViT, 8,000 images: the heap grew by 190 MB; in place by 50 MB).
    """
    num_rows = chunk.stop - chunk.start
    return Outputs(*(np.empty((num_rows, *field.shape[1:]), field.dtype) for field in first))


def _copy(batch: Outputs, whole: Outputs, span: Span) -> None:
    rows = slice(span.start - span.chunk.start, span.stop - span.chunk.start)
    whole.outputs[rows] = batch.outputs
    whole.views_N9[rows] = batch.views_N9
    whole.thumbnails_N64[rows] = batch.thumbnails_N64


def _forward(
    network: Callable[[Tensor], Tensor],
    views: ViewBatch,
    preprocessing: Preprocessing,
    device: torch.device,
    batch_size: int,
) -> Half:
    """Return the outputs of a batch, filled up with black images where the last block of it would not be whole.

    oneDNN computes blocks of images in one order of summation and what is left over in another: the last bits of an
    image's outputs would depend on how many images there happen to be. Never filled beyond the batch size.
    """
    num_images = len(views.pixels_NHW3)
    images_NCHW = normalise(views.pixels_NHW3, preprocessing, device)
    missing = min(-num_images % BLOCK, batch_size - num_images) if device.type == "cpu" else 0
    if missing:
        images_NCHW = pad(images_NCHW, (0, 0) * 3 + (0, missing))
    # Half precision whatever the network computes in: it is the type of the cache, so bf16 and fp32 are stored alike.
    return network(images_NCHW)[:num_images].to(torch.float16).cpu().numpy()
