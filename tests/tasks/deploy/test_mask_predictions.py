"""A model that segments predicts the masks it was scored by, with a palette and an overlay of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import EvaluateConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import EVALUATE
from taskdistill.tasks.deploy.predicting import Predictor
from taskdistill.tasks.deploy.ready import Ready, Wish
from taskdistill.tasks.deploy.sources import listed
from taskdistill.tasks.problems.palette import palette
from taskdistill.tasks.stage import execute
from tests.conftest import RUNTIME
from tests.masked_images import commit_masked, masked_row
from tests.untrained import commit_model

CLASSES = ("sky", "road", "tree")
SIZES = [(40, 60), (33, 20), (64, 64)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three images of noise, of different shapes."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{number}.png" for number in range(len(SIZES))]
    for path, size in zip(paths, SIZES, strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def images(store: ArtifactStore, pictures: list[Path]) -> ArtifactRef:
    """The same with masks, as test images and as training images."""
    rng = np.random.default_rng(1)
    rows = [
        masked_row(f"{split}/{path.name}", split, np.asarray(Image.open(path)), rng.integers(0, 3, size, np.uint8))
        for split in ("train", "val", "test")
        for path, size in zip(pictures, SIZES, strict=True)
    ]
    return commit_masked(store, rows, CLASSES)


@pytest.fixture
def model(store: ArtifactStore, images: ArtifactRef) -> ArtifactRef:
    backbone = Backbone(name="test_resnet", weights="random", input_px=32)
    return commit_model(store, backbone, CLASSES, problem="segmentation", inputs={"images": images})


def test_masks_hold_the_pixels_that_the_evaluation_counted(
    store: ArtifactStore, images: ArtifactRef, model: ArtifactRef, pictures: list[Path], tmp_path: Path
) -> None:
    inputs = {"images": images, "model": model}
    evaluation = execute(EVALUATE, EvaluateConfig(problem="segmentation"), inputs, store=store, runtime=RUNTIME)
    ready = Ready.of(store, model, Wish(top=2))
    done = Predictor(ready, RUNTIME).write(listed([str(tmp_path / "in")]).images, tmp_path / "said.parquet")
    assert (done.predicted, done.left_out) == (3, [])
    rows = read_rows(tmp_path / "said.parquet")
    scored = read_table(store.path(evaluation) / "test-predictions.parquet")
    assert ImageSet.open(store.path(images)).classes == list(CLASSES)
    for row, counted, size in zip(rows, scored, SIZES, strict=True):
        mask, overlay = (opened(tmp_path / row[kind]) for kind in ("mask", "overlay"))
        assert (mask.mode, mask.size) == ("P", size[::-1])
        pixels = np.bincount(np.asarray(mask).ravel(), minlength=3)
        assert pixels.tolist() == counted["pixels_predicted"]
        best = int(pixels.argmax())
        assert (row["top1"], row["share1"]) == (CLASSES[best], pytest.approx(pixels[best] / pixels.sum(), abs=1e-6))
        assert (np.asarray(mask.convert("RGB")).reshape(-1, 3)[0] == palette(3)[np.asarray(mask)[0, 0]]).all()
        assert overlay.size == size[::-1]
    assert "top3" not in rows[0]


@pytest.mark.usefixtures("images")
def test_masks_that_were_written_among_the_images_are_not_predicted_themselves(
    store: ArtifactStore, model: ArtifactRef, pictures: list[Path]
) -> None:
    folder = pictures[0].parent
    predictor = Predictor(Ready.of(store, model, Wish()), RUNTIME)
    first, again = (predictor.write(listed([str(folder)]).images, folder / "said.csv") for _ in range(2))
    assert (first.predicted, first.already) == (3, 0)
    assert (again.predicted, again.already) == (0, 3)


def test_pixels_below_the_threshold_are_255_and_white(
    store: ArtifactStore, model: ArtifactRef, pictures: list[Path], tmp_path: Path
) -> None:
    ready = Ready.of(store, model, Wish(threshold=1.0))
    assert "is not known" in ready.said()[1]
    Predictor(ready, RUNTIME).write(listed([str(pictures[0])]).images, tmp_path / "said.parquet")
    (row,) = read_rows(tmp_path / "said.parquet")
    mask = opened(tmp_path / row["mask"])
    assert np.unique(np.asarray(mask)).tolist() == [255]
    assert mask.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert (row["unknown"], row["share1"]) == (1.0, 0.0)


def test_a_picture_stays_beside_its_table_whatever_its_image_is_called(
    store: ArtifactStore, model: ArtifactRef, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    Predictor(Ready.of(store, model, Wish()), RUNTIME).write(listed(["../in/0.png"]).images, Path("said.csv"))
    assert (tmp_path / "out" / "said-mask" / "up" / "in" / "0.png.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "store"]


def test_pictures_of_images_with_the_longest_names_are_written_and_differ(
    store: ArtifactStore, model: ArtifactRef, pictures: list[Path], tmp_path: Path
) -> None:
    """With an ending more, either name is longer than a file's name may be; they differ in their last letter."""
    named = [path.rename(path.with_name("é" * 125 + f"{number}.png")) for number, path in enumerate(pictures)]
    outcome = Predictor(Ready.of(store, model, Wish()), RUNTIME).write(
        listed([str(path) for path in named]).images, tmp_path / "said.parquet"
    )
    rows = read_rows(tmp_path / "said.parquet")
    assert outcome.predicted == len({row["mask"] for row in rows}) == 3
    assert [opened(tmp_path / row["mask"]).size for row in rows] == [(width, height) for height, width in SIZES]


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture


def read_rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())
