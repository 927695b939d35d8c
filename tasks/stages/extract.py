"""Stage "extract": compute the features of images by a frozen encoder, once for each view that something reads.

Reads `images` (image-set); writes rows.parquet and outputs.zarr: outputs, how each view was cut, and
its thumbnail.

Shape letters: N images, C channels, H W pixels.
"""

from functools import cached_property
from typing import Any

from torch import Tensor

from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.summaries import FeaturesSummary
from taskdistill.storage.view_attributes import FeaturesAttributes
from taskdistill.storage.view_writer import Layout
from taskdistill.tasks.inference.frozen_images import ImagePartitions
from taskdistill.tasks.models.encoder import (
    Encoder,
    build_encoder_as_named,
    encoder_fingerprint,
    summarise,
    summary_blocks,
)
from taskdistill.tasks.models.weightless import encoder_outline
from taskdistill.tasks.partitions import ByPartitions, Throughput


class Extraction(ImagePartitions[ExtractConfig]):
    """Features in the making."""

    @cached_property
    def encoder(self) -> Encoder:
        """The network with its weights; SourceChangedError where they are not the recipe's."""
        return build_encoder_as_named(self.config.backbone, self.context.content_digests).eval()

    @cached_property
    def outline(self) -> Encoder:
        """The same without weights."""
        return encoder_outline(self.config.backbone)

    def network(self) -> Encoder:
        return self.encoder

    def outputs(self, network: Any, images_NCHW: Tensor) -> Tensor:
        return summarise(network, images_NCHW, self.config.blocks)

    def finish(self, throughput: Throughput) -> FeaturesSummary:
        return FeaturesSummary(
            images=self.writer.num_rows,
            views=1 + self.config.views.num_augmented(len(self.images.rows_of("train"))),
            encoder_forwards=throughput.images,
            parameters=sum(parameter.numel() for parameter in self.outline.parameters()),
        )

    def layout(self) -> Layout:
        config, outline = self.config, self.outline
        blocks = summary_blocks(outline, config.blocks)
        return Layout(
            row_shape=(len(blocks), blocks[0].width),
            attributes=FeaturesAttributes(
                images=self.images.fingerprint,
                encoder=encoder_fingerprint(config.backbone, self.context.content_digests),
                views=config.views.identity(),
                backbone=config.backbone.identity(),
                preprocessing=outline.preprocessing.as_json(),
                blocks=[block.name for block in blocks],
            ).as_json(),
        )


run = ByPartitions(Extraction)
