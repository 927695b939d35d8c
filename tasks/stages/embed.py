"""Stage "embed": compute the embedding of every image by a generator's image encoder, once for all its pairs.

Validation and test images are embedded too: they are never parents, but blends that come close to one are flagged.
"""

from collections.abc import Sequence

import torch

from configs.data import ViewSettings
from configs.generation import EmbedConfig
from storage.image_set import ImageSet
from storage.summaries import EmbeddingsSummary
from storage.view_attributes import EmbeddingsAttributes
from storage.view_outputs import ViewOutputsWriter
from tasks.data.batches import DecodedImages, ViewSource
from tasks.generators.generator import build_generator_as_named, generator_fingerprint
from tasks.inference.frozen import ChunkPartitions, run_frozen
from tasks.models.task_model import device_of
from tasks.partitions import ByPartitions, Throughput
from tasks.stage import StageContext

CLEAN_ONLY = ViewSettings(num_views=0)


class Embedding(ChunkPartitions[EmbedConfig]):
    """Embeddings [N, 1, D] in the making."""

    def __init__(self, config: EmbedConfig, context: StageContext) -> None:
        self.context = context
        self.images = ImageSet.open(context.inputs["images"])
        self.generator = build_generator_as_named(config.model, context.content_digests, context.runtime)
        self.writer = ViewOutputsWriter(
            context.draft,
            ids=self.images.ids,
            num_views=1,
            row_shape=(self.generator.width,),
            attributes=EmbeddingsAttributes(
                images=self.images.fingerprint,
                generator=generator_fingerprint(config.model, context.content_digests),
                preprocessing=self.generator.preprocessing._asdict(),
                substitution=self.generator.substitution,
            ).as_json(),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        device = device_of(self.context.runtime)
        embed = self.generator.ready_to_embed(device).embed
        # Nothing is kept decoded: each image is read once.
        decoded = DecodedImages(self.images, cache_mb=0, decode_mb=self.context.runtime.decode_memory_mb)
        source = ViewSource(decoded, CLEAN_ONLY, self.generator.preprocessing)
        return run_frozen(embed, source, self.writer, self.chunks(numbers), device, self.context)

    def finish(self, throughput: Throughput) -> EmbeddingsSummary:
        return EmbeddingsSummary(
            images=len(self.images),
            width=self.generator.width,
            encoder_forwards=throughput.images,
            substitution=self.generator.substitution,
        )


run = ByPartitions(Embedding)
