"""Large photographs, which take longer to decode than a small network to look at, are decoded once for all views."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import EXTRACT, INGEST
from taskdistill.tasks.data import batches
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.functional.views import Pixels
from tests.conftest import Run

CONFIG = ExtractConfig(
    backbone=Backbone(name="test_vit", weights="random", input_px=32), views=ViewSettings(num_views=4)
)
TRAIN = 12
PIXELS = 2400, 1600
"""11 MiB decoded."""


@pytest.fixture
def images(tmp_path: Path, run: Run) -> ArtifactRef:
    """A dozen photographs to train on, and four each to validate and test on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN // 2), ("val", 2), ("test", 2)):
        for kind in ("day", "night"):
            (folder := tmp_path / "data" / split / kind).mkdir(parents=True)
            for number in range(count):
                small = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
                small.resize(PIXELS, Image.Resampling.BILINEAR).save(folder / f"{number}.jpg", quality=60)
    return run(INGEST, IngestConfig(path=str(tmp_path / "data")))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each row of an image-set is decoded."""
    counted: Counter[int] = Counter()
    decode = batches.decoded_row

    def counting(images: ImageSet, row: int, *, memory: DecodeMemory | None = None) -> Pixels:
        counted[row] += 1
        return decode(images, row, memory=memory)

    monkeypatch.setattr(batches, "decoded_row", counting)
    return counted


def test_each_is_decoded_once_though_the_memory_holds_one_of_them(
    images: ArtifactRef, decoded: Counter[int], run: Run, store: ArtifactStore
) -> None:
    run(EXTRACT, CONFIG, {"images": images}, image_cache_mb=24, workers=3, inference_batch_size=4)
    assert decoded == Counter(dict.fromkeys(range(len(ImageSet.open(store.path(images)))), 1))


def test_without_that_memory_the_features_are_the_same_bytes(
    images: ArtifactRef, decoded: Counter[int], run: Run, store: ArtifactStore
) -> None:
    ref = run(EXTRACT, CONFIG, {"images": images}, image_cache_mb=24)
    files = store.manifest(ref).files
    discard(store, ref)
    decoded.clear()
    run(EXTRACT, CONFIG, {"images": images}, image_cache_mb=0)
    assert store.manifest(ref).files == files
    assert Counter(decoded.values()) == {4: TRAIN, 1: 8}


@pytest.mark.nightly
@pytest.mark.real_data
@pytest.mark.skipif("REAL_DATA_DIR" not in os.environ, reason="REAL_DATA_DIR is not set")
def test_forty_photographs_of_12_megapixels_are_decoded_once_with_the_default_memory(
    tmp_path: Path, decoded: Counter[int], run: Run, store: ArtifactStore
) -> None:
    """Decoded they are 1.3 GiB, and 1 GiB is there by default."""
    originals = sorted((Path(os.environ["REAL_DATA_DIR"]) / "clothing10" / "train").glob("*/*.jpg"))[::9]
    for number, path in enumerate(originals[:40]):
        (folder := tmp_path / "data" / "train" / path.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").resize((4000, 3000), Image.Resampling.BILINEAR).save(folder / f"{number}.jpg")
    images = run(INGEST, IngestConfig(path=str(tmp_path / "data")))
    run(EXTRACT, CONFIG, {"images": images}, image_cache_mb=RuntimeConfig().image_cache_mb)
    assert decoded == Counter(dict.fromkeys(range(40), 1))
