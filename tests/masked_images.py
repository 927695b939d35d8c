"""Image-sets with masks, written as ingest writes them: canonical PNG, class numbers, 255 where nobody knows."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.miniature.attributes import draw_species
from taskdistill.tasks.miniature.dataset import draw_split
from taskdistill.tasks.miniature.world import PARTS
from tests.storage.artifacts import recipe_of

BORDER = 4
"""Pixels at the edge of each bird's picture whose part nobody knows."""


def png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def masked_row(name: str, split: str, image_HW3: np.ndarray, mask_HW: np.ndarray | None) -> ImageRow:
    height, width = image_HW3.shape[:2]
    mask = None if mask_HW is None else png(mask_HW)
    return ImageRow(name, png(image_HW3), height, width, split, None, mask)


def commit_masked(store: ArtifactStore, rows: Sequence[ImageRow], classes: Sequence[str], seed: int = 0) -> ArtifactRef:
    recipe = recipe_of("image-set", {}, seed)
    ref = ArtifactRef("image-set", fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        write_shard(draft, 0, sorted(rows, key=lambda row: row.id))
        summary = write_index(draft, classes=classes, num_shards=1)
        store.commit(ref, recipe=recipe, inputs={}, summary=summary)
    return ref


def commit_birds(store: ArtifactStore, per_class: Mapping[str, int], world: int = 0) -> ArtifactRef:
    """Birds of the miniature with the parts they are made of, so many of each of 25 species in each split."""
    species, rows = draw_species(world), []
    for split, number in per_class.items():
        pictures = draw_split(species, seed=world, split=split, per_class=number).pictures
        for place, (image_HW3, parts_HW) in enumerate(
            zip(pictures.images_NHWC.numpy(), pictures.masks_NHW.numpy(), strict=True)
        ):
            mask_HW = np.full(parts_HW.shape, 255, np.uint8)
            inside = slice(BORDER, -BORDER)
            mask_HW[inside, inside] = parts_HW[inside, inside]
            rows.append(masked_row(f"{split}/{place:04d}.png", split, image_HW3, mask_HW))
    return commit_masked(store, rows, PARTS, world)
