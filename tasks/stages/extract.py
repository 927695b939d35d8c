"""Stage "extract": show every view of every image to a frozen encoder, once, and keep what it says."""

import functools
from collections.abc import Sequence

import torch

from configs.stages import ExtractConfig
from storage.image_set import ImageSet
from storage.summaries import FeaturesSummary, Speed
from storage.view_attributes import FeaturesAttributes
from storage.view_outputs import ViewOutputsWriter
from tasks.data.batches import DecodedImages, ViewSource
from tasks.inference.frozen import ChunkPartitions, run_frozen
from tasks.inference.speed import BATCH_SIZE, measured_speed
from tasks.models.encoder import build_encoder_as_named, encoder_fingerprint, summarise, summary_blocks
from tasks.models.task_model import autocast, device_of, on_device
from tasks.partitions import ByPartitions, Throughput
from tasks.stage import StageContext


class Extraction(ChunkPartitions[ExtractConfig]):
    """Features in the making."""

    def __init__(self, config: ExtractConfig, context: StageContext) -> None:
        self.config, self.context = config, context
        self.images = ImageSet.open(context.inputs["images"])
        self.encoder = build_encoder_as_named(config.backbone, context.content_digests).eval()
        blocks = summary_blocks(self.encoder)
        self.writer = ViewOutputsWriter(
            context.draft,
            ids=self.images.ids,
            num_views=config.views.num_views + 1,
            row_shape=(len(blocks), blocks[0].width),
            attributes=FeaturesAttributes(
                images=self.images.fingerprint,
                encoder=encoder_fingerprint(config.backbone, context.content_digests),
                views=config.views.identity(),
                backbone=config.backbone.identity(),
                preprocessing=self.encoder.preprocessing._asdict(),
                blocks=[block.name for block in blocks],
            ).as_json(),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        config, runtime = self.config, self.context.runtime
        device = device_of(runtime)
        encoder = on_device(self.encoder, device)
        decoded = DecodedImages(self.images, cache_mb=runtime.image_cache_mb, decode_mb=runtime.decode_memory_mb)
        source = ViewSource(decoded, config.views, encoder.preprocessing)
        with autocast(device, config.precision):
            return run_frozen(
                functools.partial(summarise, encoder), source, self.writer, self.chunks(numbers), device, self.context
            )

    def finish(self, throughput: Throughput) -> FeaturesSummary:
        summary = FeaturesSummary(
            images=len(self.images),
            views=self.config.views.num_views + 1,
            encoder_forwards=throughput.images,
            parameters=sum(parameter.numel() for parameter in self.encoder.parameters()),
        )
        # Where others made the partitions, this process may have no device of the kind that they have.
        return summary if self.context.dispatch else summary.model_copy(update={"speed": self._speed()})

    def _speed(self) -> Speed:
        device = device_of(self.context.runtime)
        encoder = on_device(self.encoder, device)
        source = ViewSource(DecodedImages(self.images, cache_mb=0), self.config.views, encoder.preprocessing)
        rows = list(range(min(BATCH_SIZE, len(self.images))))
        return measured_speed(functools.partial(summarise, encoder), source, rows, self.context.runtime, device)


run = ByPartitions(Extraction)
