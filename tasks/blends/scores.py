"""How much a blend resembles its parents, and whether it copies one of them or an image it must not know.

Similarity is the cosine of embeddings by the generator's own image encoder. A blend that is nearly a parent adds
little; one that is nearly a validation or test image would leak it. Stage "select" flags both.

Shape letters: N blends, M val and test images, D embedding width, S side of a blend.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import atomic
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import BlendsSummary
from taskdistill.storage.tables import BLENDS, read_arrow
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.functional.pairs import normalised
from taskdistill.tasks.functional.views import CLEAN_VIEW, Pixels
from taskdistill.tasks.generators.generator import Generator
from taskdistill.tasks.models.preprocessing import normalise

Row = Mapping[str, Any]
Embeddings = npt.NDArray[np.float32]


class BlendScores:
    """The embeddings of all real images, to look parents up in and to compare blends with."""

    def __init__(
        self, generator: Generator, images: ImageSet, embeddings: ViewOutputs, draft: Path, device: torch.device
    ) -> None:
        self._generator, self._device, self._draft = generator, device, draft
        every_ND = embeddings.view(CLEAN_VIEW)  # float16, and all that is held of the training images
        train, held_out = images.rows_of("train"), images.rows_of("val", "test")
        self._train = {images.ids[row]: place for place, row in enumerate(train)}
        self._train_ND = every_ND[embeddings.rows_of(list(self._train), CLEAN_VIEW)]
        self._held_out = [images.ids[row] for row in held_out]
        self._held_out_MD = normalised(every_ND[embeddings.rows_of(self._held_out, CLEAN_VIEW)])

    def embeddings_of(self, rows: Sequence[Row]) -> Tensor:
        """Return the embeddings of the parents, [N, 2, D]; CorruptArtifactError where one is no training image."""
        return torch.from_numpy(np.stack([self._parents("parent_a", rows), self._parents("parent_b", rows)], 1)).to(
            self._device
        )

    def score(self, rows: Sequence[Row], blends_NSS3: Pixels) -> list[dict[str, Any]]:
        """Return rows of the table BLENDS; CorruptArtifactError where a parent is no training image."""
        blends_ND = self._embedded(blends_NSS3)
        similarities = {
            name: (blends_ND * normalised(self._parents(name, rows))).sum(axis=1) for name in ("parent_a", "parent_b")
        }
        held_out_NM = blends_ND @ self._held_out_MD.T
        nearest_N = held_out_NM.argmax(axis=1) if self._held_out else np.zeros(len(rows), np.int64)
        scored = []
        for number, row in enumerate(rows):
            a, b = (float(similarity[number]) for similarity in similarities.values())
            near = int(nearest_N[number])
            held_out = float(held_out_NM[number, near]) if self._held_out else None
            scored.append({
                "id": row["id"], "parent_a": row["parent_a"], "parent_b": row["parent_b"],
                "similarity_a": a, "similarity_b": b,
                "nearest_held_out": self._held_out[near] if self._held_out else None, "similarity_held_out": held_out,
            })  # fmt: skip
        return scored

    def _parents(self, name: str, rows: Sequence[Row]) -> Embeddings:
        try:
            return self._train_ND[[self._train[row[name]] for row in rows]].astype(np.float32)
        except KeyError as error:
            raise CorruptArtifactError(
                f"the table of pairs names {error} as a parent, which is no training image: only these may be. Remove "
                f"the draft with 'taskdistill discard {self._draft.name[:12]}', then run the same again"
            ) from error

    def _embedded(self, blends_NSS3: Pixels) -> Embeddings:
        wanted = self._generator.preprocessing
        height, width = blends_NSS3.shape[1:3]
        view = wanted.clean(height, width)
        cut = [wanted.cut(blend_SS3, view) for blend_SS3 in blends_NSS3]
        return normalised(self._generator.embed(normalise(np.stack(cut), wanted, self._device)).cpu().numpy())


def scores_name(shard: int) -> str:
    """Where the scores of a shard lie in the draft until it is committed."""
    return f"scores/{shard:05d}.parquet"


def merge_scores(draft: Path, num_shards: int) -> BlendsSummary:
    """Join the scores of all shards into blends.parquet, and return what they come to."""
    table = pa.concat_tables([read_arrow(draft, scores_name(shard), BLENDS) for shard in range(num_shards)])
    with atomic(draft / "blends.parquet") as partial:
        pq.write_table(table, partial, write_page_checksum=True)
    nearest = pc.max(table["similarity_held_out"]).as_py()
    to_parents = (pc.mean(table["similarity_a"]).as_py() + pc.mean(table["similarity_b"]).as_py()) / 2
    return BlendsSummary(
        similarity_to_parents=round(to_parents, 4),
        largest_similarity_to_held_out=None if nearest is None else round(nearest, 4),
    )
