"""Stages "precompute" and "precompute-images": what the teacher says about every view, as raw logits.

A probed teacher costs one small matrix product a view, from cached features; its encoder does not run. A finetuned
teacher has other features than the cached ones, so it is shown the images once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from configs.stages import PrecomputeConfig, PrecomputeImagesConfig
from storage.image_set import ImageSet
from storage.summaries import LogitsSummary
from storage.view_attributes import FeaturesAttributes, LogitsAttributes
from storage.view_outputs import ViewOutputs, ViewOutputsWriter
from storage.weights import ModelDescription
from tasks.data.batches import DecodedImages, ViewSource
from tasks.inference.frozen import ChunkPartitions, run_frozen
from tasks.models.encoder import Block
from tasks.models.task_model import autocast, device_of, load_head, load_model, on_device
from tasks.partitions import ByPartitions, Throughput
from tasks.stage import StageContext


class LogitsOfFeatures(ChunkPartitions[PrecomputeConfig]):
    """Logits of a probed teacher in the making."""

    @torch.inference_mode()
    def __init__(self, config: PrecomputeConfig, context: StageContext) -> None:
        self.context = context
        self.features = ViewOutputs(context.inputs["features"])
        description = ModelDescription.read(context.inputs["probe"])
        self.features.require(encoder=description.encoder)
        num_views, _, width = self.features.shape[1:]
        extracted = FeaturesAttributes.of(self.features)
        cached = [Block(name, width) for name in extracted.blocks]
        self.head = load_head(context.inputs["probe"], description, cached).eval()
        self.indices = [extracted.blocks.index(name) for name in description.blocks]
        self.row_shape = self.head(*(torch.zeros(1, width) for _ in self.indices)).shape[1:]
        self.writer = ViewOutputsWriter(
            context.draft,
            ids=self.features.ids,
            num_views=num_views,
            row_shape=self.row_shape,
            attributes=_attributes(extracted.images, extracted.views, description),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        device = device_of(self.context.runtime)
        head, features = self.head.to(device), self.features
        total = len(self.writer.chunks())
        for done, chunk in enumerate(self.chunks(numbers), start=total - len(self.missing()) + 1):
            features_NRD = torch.from_numpy(features.rows(chunk.start, chunk.stop, chunk.view)).to(device).float()
            logits_NK = head(*(features_NRD[:, index] for index in self.indices)).to(torch.float16).cpu().numpy()
            self.writer.write(
                chunk,
                logits_NK,
                features.view_fields(chunk.start, chunk.stop, chunk.view),
                features.thumbnails(chunk.start, chunk.stop, chunk.view),
            )
            self.context.on_progress("chunks", done, total)
        return Throughput(0, 0.0)

    def finish(self, throughput: Throughput) -> LogitsSummary:
        return _summary(self.writer, self.row_shape, throughput)


class LogitsOfImages(ChunkPartitions[PrecomputeImagesConfig]):
    """Logits of a finetuned teacher in the making."""

    @torch.inference_mode()
    def __init__(self, config: PrecomputeImagesConfig, context: StageContext) -> None:
        self.config, self.context = config, context
        self.images = ImageSet.open(context.inputs["images"])
        self.model, description = load_model(context.inputs["model"])
        side_px = self.model.preprocessing.side_px
        self.row_shape = self.model(torch.zeros(1, 3, side_px, side_px)).shape[1:]
        self.writer = ViewOutputsWriter(
            context.draft,
            ids=self.images.ids,
            num_views=config.views.num_views + 1,
            row_shape=self.row_shape,
            attributes=_attributes(self.images.fingerprint, config.views.identity(), description),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        config, runtime = self.config, self.context.runtime
        device = device_of(runtime)
        model = on_device(self.model, device)
        decoded = DecodedImages(self.images, cache_mb=runtime.image_cache_mb, decode_mb=runtime.decode_memory_mb)
        source = ViewSource(decoded, config.views, model.preprocessing)
        with autocast(device, config.precision):
            return run_frozen(model, source, self.writer, self.chunks(numbers), device, self.context)

    def finish(self, throughput: Throughput) -> LogitsSummary:
        return _summary(self.writer, self.row_shape, throughput)


run = ByPartitions(LogitsOfFeatures)
run_on_images = ByPartitions(LogitsOfImages)


def _summary(writer: ViewOutputsWriter, row_shape: Sequence[int], throughput: Throughput) -> LogitsSummary:
    return LogitsSummary(
        images=writer.num_rows,
        views=writer.num_views,
        outputs=list(row_shape),
        encoder_forwards=throughput.images,
    )


def _attributes(images: str, views: Mapping[str, Any], description: ModelDescription) -> dict[str, Any]:
    """The proof that travels with logits: which images and views, whose encoder, which classes."""
    return LogitsAttributes(
        images=images,
        views=dict(views),
        encoder=description.encoder,
        side_px=description.side_px,
        problem=description.problem,
        classes=description.classes,
    ).as_json()
