"""Stage "generate": make blends of pairs of training images; a synthetic image-set without labels.

The table of pairs comes first: id, parents and seed of every blend. Then shards are made in any order, by any worker:
an image depends on its row of the table, its noise being drawn from a seed that is a digest of the artifact's
fingerprint and the row's number; on a CPU the size of its batch may move it by one grey level, nothing else does.

    pairs.parquet          id, parent_a, parent_b, seed
    shards/00000.parquet   the blends (storage.image_set); a shard that exists is whole
    blends.parquet         similarity of each blend to its parents and to the nearest val or test image
    contact-sheet.png, blends.html   to look at

While the device computes a batch, threads encode the one before it and write finished shards. Batches are cut within a
shard, so that it makes no difference which worker makes which shard.

Shape letters: N blends of a batch, S side of a blend.

Reads `images` (image-set) and `embeddings` of them; writes pairs.parquet, shards/*.parquet, cells.parquet,
image-set.json, blends.parquet, contact-sheet.png and blends.html; scores/*.parquet lie in the draft until the commit.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from taskdistill.configs.generation import GenerateConfig
from taskdistill.storage import image_set
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageRow, ImageSet
from taskdistill.storage.summaries import BlendsSummary, ImageSetSummary
from taskdistill.storage.tables import BLENDS, PAIRS, read_arrow, write_table
from taskdistill.storage.view_attributes import EmbeddingsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.blends.batched_sampler import BatchedSampler
from taskdistill.tasks.blends.pairing import pair_table
from taskdistill.tasks.blends.pictures import draw_contact_sheet, write_blends_page
from taskdistill.tasks.blends.scores import BlendScores, merge_scores, scores_name
from taskdistill.tasks.data.encode import encode
from taskdistill.tasks.data.threads import in_background
from taskdistill.tasks.generators.generator import build_generator_as_named, generator_fingerprint
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.partitions import ByPartitions, Partitions, Throughput
from taskdistill.tasks.stage import StageContext

MIN_SHARD_ROWS, MAX_SHARD_ROWS, FEW_SHARDS = 32, 256, 512

Row = Mapping[str, Any]


def rows_per_shard(count: int) -> int:
    """Rows of a shard: what one death may cost. It depends on the number of blends alone, as all that decides bytes."""
    return min(max(count // FEW_SHARDS, MIN_SHARD_ROWS), MAX_SHARD_ROWS)


class Blending(Partitions[GenerateConfig]):
    """Blends in the making: a partition is a shard.

    Raises CacheMismatchError where the embeddings are of other images or another generator, PairingError where there
    are no two images to pair.
    """

    name = "shards"

    def __init__(self, config: GenerateConfig, context: StageContext) -> None:
        self.config, self.context = config, context
        self.images = ImageSet.open(context.inputs["images"])
        self.embeddings = ViewOutputs(context.inputs["embeddings"])
        self.embeddings.require(
            images=self.images.fingerprint, generator=generator_fingerprint(config.model, context.content_digests)
        )
        if not _is_whole(context.draft, "pairs.parquet", PAIRS):
            # Whoever begins writes the table, and it comes out alike whoever that is: its seed is in the recipe.
            pairs = pair_table(config.blends, self.images, self.embeddings, context.draft.name)
            write_table(context.draft / "pairs.parquet", PAIRS, pairs)
        self.pairs = read_arrow(context.draft, "pairs.parquet", PAIRS)
        self.shard_rows = rows_per_shard(self.pairs.num_rows)
        self.num_shards = -(-self.pairs.num_rows // self.shard_rows)

    def missing(self) -> list[int]:
        return [
            shard for shard in range(self.num_shards) if not image_set.shard_path(self.context.draft, shard).is_file()
        ]

    def remove_damaged(self) -> list[int]:
        draft, made = self.context.draft, set(range(self.num_shards)).difference(self.missing())
        damaged = [shard for shard in sorted(made) if not self._is_shard_whole(shard)]
        for shard in damaged:
            image_set.shard_path(draft, shard).unlink()
        return damaged

    def _is_shard_whole(self, shard: int) -> bool:
        ids = [row["id"] for row in self._rows(shard)]
        scores = scores_name(shard)
        return _is_whole(self.context.draft, scores, BLENDS) and image_set.is_shard_whole(
            self.context.draft, shard, ids
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        runtime, device = self.context.runtime, device_of(self.context.runtime)
        generator = build_generator_as_named(self.config.model, self.context.content_digests, runtime).ready_to_blend(
            device
        )
        # Scored at once, while the blend is in memory: a pass over the finished shards would decode all of them again.
        scores = BlendScores(generator, self.images, self.embeddings, self.context.draft, device)
        sampler = BatchedSampler(generator, self.config.blends, runtime.generation_batch_size)
        left = sum(len(self._rows(shard)) for shard in self.missing())
        num_made = 0
        with ThreadPoolExecutor(runtime.workers, "encode") as encoders, in_background(self._write) as write:
            for shard in numbers:
                # Several threads encode, as beside a fast device that is the slow part; the one that writes waits for
                # the bytes of its shard, in their order.
                rows, encoded, scored = self._rows(shard), list[Future[bytes]](), list[Row]()
                for part, blends_NSS3 in sampler.paint(scores.embeddings_of(rows), [row["seed"] for row in rows]):
                    encoded += [encoders.submit(encode, blend_SS3, self.config.blends) for blend_SS3 in blends_NSS3]
                    scored += scores.score(rows[part], blends_NSS3)
                    num_made += len(blends_NSS3)
                    self.context.on_progress("blends", self.pairs.num_rows - left + num_made, self.pairs.num_rows)
                write(shard, rows, encoded, scored)
        return Throughput(num_made, sampler.images_per_second())

    def finish(self, throughput: Throughput) -> BlendsSummary:
        draft = self.context.draft
        scores = merge_scores(draft, self.num_shards)
        counts = image_set.write_index(draft, classes=self.images.classes, num_shards=self.num_shards)
        # Drawn from what was written: pictures that people look at are those that students are trained on.
        blends, table = ImageSet.open(draft), read_arrow(draft, "blends.parquet", BLENDS)
        draw_contact_sheet(draft / "contact-sheet.png", blends, self.images)
        write_blends_page(draft / "blends.html", blends, self.images, table)
        made = BlendsSummary(
            pairs=self.config.blends.pairs,
            painted=throughput.images,
            blends_per_second=round(throughput.per_second, 3),
            substitution=EmbeddingsAttributes.of(self.embeddings).substitution,
        )
        return BlendsSummary.joined(ImageSetSummary(**counts), scores, made)

    def _rows(self, shard: int) -> list[Row]:
        rows: list[Row] = self.pairs.slice(shard * self.shard_rows, self.shard_rows).to_pylist()
        return rows

    def _write(self, shard: int, rows: Sequence[Row], encoded: Sequence[Future[bytes]], scored: Sequence[Row]) -> None:
        """Write the scores first, then the shard, whose presence means that both are there."""
        path = self.context.draft / scores_name(shard)
        path.parent.mkdir(exist_ok=True)
        write_table(path, BLENDS, scored)
        side = self.config.blends.side_px
        image_rows = (
            ImageRow(row["id"], image.result(), side, side, "train", parents=[row["parent_a"], row["parent_b"]],
                     seed=row["seed"])
            for row, image in zip(rows, encoded, strict=True)
        )  # fmt: skip
        image_set.write_shard(self.context.draft, shard, image_rows)


def _is_whole(draft: Path, name: str, schema: pa.Schema) -> bool:
    """Whether a table is there and can be read; a power cut may have torn it."""
    try:
        read_arrow(draft, name, schema)
    except CorruptArtifactError:
        return False
    return True


run = ByPartitions(Blending)
