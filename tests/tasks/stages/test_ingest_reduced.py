"""Large photographs are stored as smaller copies where that is asked for, and nothing else changes."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_experiment
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.catalog import INGEST, INGEST_UNLABELLED
from tests.conftest import Run
from tests.fakes import write_shapes

SIDE_PX = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 16 pixels, and a photograph of 300 x 200 that the camera turned."""
    made = write_shapes(tmp_path / "data", {"train": 4, "val": 1, "test": 1}, side=16)
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph().save(made / "train/disc/large.jpg", exif=exif, quality=95)
    return made


def photograph() -> Image.Image:
    """Smooth colours, which no way to reduce an image changes much."""
    rows, columns = np.mgrid[:200, :300]
    pixels_HW3 = np.stack([rows / 200 * 255, columns / 300 * 255, np.full((200, 300), 90)], axis=2)
    return Image.fromarray(pixels_HW3.astype(np.uint8))


def ingested(run: Run, folder: Path, **settings: object) -> ArtifactRef:
    return run(INGEST, IngestConfig(path=str(folder), reduce_to_px=SIDE_PX, **settings))


def test_a_large_photograph_is_stored_upright_with_its_longer_side_as_asked_for(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    images = ImageSet.open(store.path(ingested(run, folder)))
    row = images.ids.index("train/disc/large.jpg")
    assert (images.heights[row], images.widths[row]) == (64, 43)
    stored = Image.open(io.BytesIO(images.image(row)))
    assert (stored.format, stored.size, stored.getexif().get(0x0112)) == ("JPEG", (43, 64), None)
    upright = photograph().transpose(Image.Transpose.ROTATE_270).resize((43, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(upright)).mean() < 2


def test_smaller_images_are_the_very_bytes_of_their_files(folder: Path, run: Run, store: ArtifactStore) -> None:
    images = ImageSet.open(store.path(ingested(run, folder)))
    small = [name for name in images.ids if name != "train/disc/large.jpg"]
    assert [images.image(images.ids.index(name)) for name in small] == [(folder / name).read_bytes() for name in small]


def test_how_many_are_copies_is_said(folder: Path, run: Run, store: ArtifactStore) -> None:
    said = IngestSummary.of(store.manifest(ingested(run, folder))).said
    assert "1 image is stored as a copy of 64 pixels on the longer side (reduce_to_px)" in said


def test_an_image_of_sixteen_bits_stays_as_it_is(folder: Path, run: Run, store: ArtifactStore) -> None:
    values_HW = np.linspace(0, 65_535, 100 * 100).reshape(100, 100).astype(np.uint16)
    Image.fromarray(values_HW).save(folder / "train/disc/deep.png")
    images = ImageSet.open(store.path(ingested(run, folder)))
    assert images.image(images.ids.index("train/disc/deep.png")) == (folder / "train/disc/deep.png").read_bytes()


def test_without_it_an_image_set_has_the_name_it_always_had(folder: Path, run: Run) -> None:
    assert "reduce_to_px" not in IngestConfig(path=str(folder)).identity()
    assert ingested(run, folder) != run(INGEST, IngestConfig(path=str(folder)))


def test_where_masks_are_learnt_it_is_refused() -> None:
    with pytest.raises(SettingsError, match="reduce_to_px is for images alone"):
        load_experiment("segmentation-small-cpu", ["data.path=/data", "data.reduce_to_px=512"])


def test_an_unlabelled_photograph_is_reduced_too_and_one_that_is_tested_on_is_still_known_by_its_file(
    folder: Path, tmp_path: Path, run: Run, store: ArtifactStore
) -> None:
    photograph().rotate(90, expand=True).save(folder / "test/disc/held-out.jpg", quality=95)
    (tmp_path / "more").mkdir()
    shutil.copy(folder / "test/disc/held-out.jpg", tmp_path / "more/copied.jpg")
    photograph().save(tmp_path / "more/new.jpg")
    config = UnlabelledConfig(path=str(tmp_path / "more"), reduce_to_px=SIDE_PX)
    images = ImageSet.open(store.path(run(INGEST_UNLABELLED, config, {"images": ingested(run, folder)})))
    assert images.ids == ["new.jpg"]
    assert (images.heights[0], images.widths[0]) == (43, 64)
