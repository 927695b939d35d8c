"""Stage "embed": compute the embedding of every image by a generator's image encoder, once for all its pairs.

Validation and test images are embedded too: they are never parents, but blends that come close to one are flagged.

Reads `images` (image-set); writes rows.parquet and outputs.zarr, the clean view of each image alone.
"""

from collections.abc import Sequence
from functools import cached_property

import torch

from taskdistill.configs.generation import EmbedConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import EmbeddingsSummary
from taskdistill.storage.view_attributes import EmbeddingsAttributes
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.shown import CLEAN_ONLY, shown_parts
from taskdistill.tasks.generators.generator import (
    GeneratorDescription,
    build_generator_as_named,
    describe_generator,
    generator_fingerprint,
)
from taskdistill.tasks.inference.frozen import ChunkPartitions, run_frozen
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.partitions import ByPartitions, Throughput
from taskdistill.tasks.stage import StageContext


class Embedding(ChunkPartitions[EmbedConfig]):
    """Embeddings [N, 1, D] in the making."""

    def __init__(self, config: EmbedConfig, context: StageContext) -> None:
        self.config, self.context = config, context
        self.images = ImageSet.open(context.inputs["images"])
        self.writer = ViewOutputsWriter(
            context.draft, ids=self.images.ids, parts=shown_parts(self.images, CLEAN_ONLY), layout=self._layout
        )

    @cached_property
    def generator(self) -> GeneratorDescription:
        return describe_generator(self.config.model, self.context.runtime)

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        runtime, device = self.context.runtime, device_of(self.context.runtime)
        generator = build_generator_as_named(self.config.model, self.context.content_digests, runtime)
        embed = generator.ready_to_embed(device).embed
        # Nothing is kept decoded: each image is read once.
        source = view_source(self.images, CLEAN_ONLY, generator.preprocessing, runtime)
        return run_frozen(embed, source, self.writer, self.chunks(numbers), device, self.context)

    def finish(self, throughput: Throughput) -> EmbeddingsSummary:
        return EmbeddingsSummary(
            images=self.writer.num_rows,
            width=self.writer.row_shape[0],
            encoder_forwards=throughput.images,
            substitution=self.generator.substitution,
        )

    def _layout(self) -> Layout:
        return Layout(
            row_shape=(self.generator.width,),
            attributes=EmbeddingsAttributes(
                images=self.images.fingerprint,
                generator=generator_fingerprint(self.config.model, self.context.content_digests),
                preprocessing=self.generator.preprocessing.as_json(),
                substitution=self.generator.substitution,
            ).as_json(),
        )


run = ByPartitions(Embedding)
