"""Features of images as an encoder leaves them, written straight in the store's formats, and a probe of them.

Features and labels are random: what a probe costs does not depend on what it learns.
"""

from pathlib import Path

import numpy as np

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ProbeConfig, ProbeSettings
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.shown_views import NUM_VIEW_FIELDS, THUMBNAIL_PIXELS
from taskdistill.storage.view_attributes import FeaturesAttributes
from taskdistill.storage.view_outputs import Part
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.stages import probe

WIDTH, NUM_CLASSES, VAL_EVERY = 1280, 10, 10
VIEWS = ViewSettings(num_views=2)


def write(folder: Path, num_rows: int) -> None:
    """Write `num_rows` images, a tenth of them for validation, and the features of each in the views that are read."""
    splits = ["val" if row % VAL_EVERY == 0 else "train" for row in range(num_rows)]
    labels = np.random.default_rng(0).integers(0, NUM_CLASSES, num_rows).tolist()
    rows = (ImageRow(f"{row:07d}.jpg", b"", 8, 8, splits[row], labels[row]) for row in range(num_rows))
    (folder / "features").mkdir()
    write_shard(folder / "images", 0, rows)
    write_index(folder / "images", classes=[f"class {number}" for number in range(NUM_CLASSES)], num_shards=1)
    images = ImageSet.open(folder / "images")
    preprocessing = {"side_px": 224}
    attributes = FeaturesAttributes(
        images=images.fingerprint, views=VIEWS.identity(), preprocessing=preprocessing, blocks=["last"]
    )
    parts = [Part(images.rows_of("train"), range(1, VIEWS.num_views + 1)), Part(images.rows_of("val"), range(1))]
    layout = Layout((1, WIDTH), attributes.as_json())
    writer = ViewOutputsWriter(folder / "features", ids=images.ids, parts=parts, layout=lambda: layout)
    for chunk in writer.missing():
        size, rng = chunk.stop - chunk.start, np.random.default_rng([chunk.view, chunk.start])
        features = rng.standard_normal((size, 1, WIDTH), np.float32).astype(np.float16)
        fields, thumbnails = np.ones((size, NUM_VIEW_FIELDS), np.float32), np.ones((size, THUMBNAIL_PIXELS), np.uint8)
        writer.write(chunk, features, fields, thumbnails)


def train(folder: Path, *, epochs: int, cache_mb: int) -> None:
    """Run the stage on what `write` left, for so many views of the training images, one after the other."""
    images = ImageSet.open(folder / "images")
    settings = ProbeSettings()
    steps = epochs * len(images.rows_of("train")) // settings.batch_size
    config = ProbeConfig(probe=settings.model_copy(update={"steps": max(steps, 1)}))
    inputs = {name: folder / name for name in ("images", "features")}
    draft = folder / "draft"
    draft.mkdir(exist_ok=True)
    probe.run(config, StageContext(inputs, draft, RuntimeConfig(device="cpu", threads=1, logits_cache_mb=cache_mb)))
