"""Whole images shown to a model in windows: what is said of a place belongs to that place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.inference.predictor import predict
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.labelled import WholeImages
from tests.conftest import RUNTIME, Run
from tests.contracts.dense_toy import JudgedParts
from tests.fakes import gradient_image

SIZES = [(64, 96), (96, 64), (80, 80), (40, 120)]
PREPROCESSING = Preprocessing(32, (0.0,) * 3, (1 / 255,) * 3, "bilinear", 1.0, "squash")


class SaysWhatItSees(torch.nn.Module):
    """Red and green of a grid of 16 x 16 cells: of a gradient image the row and the column of each."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images_NCHW))
        return torch.nn.functional.avg_pool2d(images_NCHW[:, :2], 2)


class Unlabelled(JudgedParts):
    """Nobody knows the class of any pixel."""

    def truth(self, images: ImageSet, row: int) -> np.ndarray:
        return np.full((int(images.heights[row]), int(images.widths[row])), -100)


@pytest.fixture
def images(run: Run, store: ArtifactStore, tmp_path: Path) -> ImageSet:
    for split in ("train", "val", "test"):
        for number, size in enumerate(SIZES):
            folder = tmp_path / "gradients" / split / f"class-{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            picture = gradient_image(*size)
            picture[0, 0] = number, len(split), 0  # no two files alike
            Image.fromarray(picture).save(folder / f"{number}.png")
    config = IngestConfig(path=str(tmp_path / "gradients"))
    return ImageSet.open(store.path(run(INGEST, config)))


def predicted(
    images: ImageSet,
    model: torch.nn.Module,
    batch_size: int,
    preprocessing: Preprocessing = PREPROCESSING,
    **windows: Any,
) -> Sequence[torch.Tensor]:
    """Return what is said of each test image, [2, H, W]."""
    source = ViewSource(DecodedImages(images, cache_mb=0), ViewSettings(), preprocessing)
    judged = WholeImages(Unlabelled(), images, images.rows_of("test"))
    runtime = RUNTIME.model_copy(update={"inference_batch_size": batch_size})
    settings = WindowSettings.model_validate(windows)
    deployable = Deployable(model, Unlabelled(), ["row", "column"], preprocessing, torch.device("cpu"))
    found = list(predict(deployable, judged, source, runtime, windows=settings))
    assert [one.item for one in found] == list(range(len(SIZES)))
    return [one.outputs.rows(range(one.outputs.height)) for one in found]


@pytest.mark.parametrize("width_px", [0, 48])
@pytest.mark.parametrize(
    "windows",
    [
        {},
        {"flip": "horizontal"},
        {"show": "sliding"},
        {"show": "sliding", "flip": "horizontal", "scales": (1.0, 1.5)},
        {"show": "sliding", "window_px": 24, "stride": 0.5},
        {"show": "sliding", "scales": (0.6,)},
        {"show": "whole", "flip": "horizontal"},
    ],
)
def test_what_is_said_of_a_pixel_is_what_is_there(images: ImageSet, windows: dict[str, Any], width_px: int) -> None:
    rows, preprocessing = images.rows_of("test"), PREPROCESSING._replace(width_px=width_px)
    found = predicted(images, SaysWhatItSees(), 5, preprocessing, **windows)
    for row, said in zip(rows, found, strict=True):
        height, width = int(images.heights[row]), int(images.widths[row])
        place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        inside = (slice(None), slice(8, -8), slice(8, -8))  # at the edge the nearest cell answers
        assert (said[inside] - place[inside]).abs().max() < 3


def test_windows_of_an_image_may_lie_in_several_batches_and_batches_hold_several_images(images: ImageSet) -> None:
    asked = {"show": "sliding", "window_px": 24}
    one, many = SaysWhatItSees(), SaysWhatItSees()
    alone, together = predicted(images, one, 1, **asked), predicted(images, many, 7, **asked)
    for first, second in zip(alone, together, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert set(many.batches[:-1]) == {7}
    assert sum(many.batches) == sum(one.batches) > 4 * len(SIZES)


def test_an_image_is_decoded_once_for_its_windows_in_a_batch(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    plain = DecodedImages.pixels
    monkeypatch.setattr(DecodedImages, "pixels", lambda self, row: (decoded.append(row), plain(self, row))[1])
    predicted(images, SaysWhatItSees(), 1000, show="sliding", window_px=24)
    assert decoded == images.rows_of("test").tolist()


def test_no_images_are_no_predictions(images: ImageSet) -> None:
    source = ViewSource(DecodedImages(images, cache_mb=0), ViewSettings(), PREPROCESSING)
    judged = WholeImages(Unlabelled(), images, np.asarray([], np.int64))
    deployable = Deployable(SaysWhatItSees(), Unlabelled(), ["row", "column"], PREPROCESSING, torch.device("cpu"))
    assert list(predict(deployable, judged, source, RUNTIME)) == []
