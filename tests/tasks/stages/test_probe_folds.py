"""Heads that each leave out a fold of the images: what they saw, and the logits that a teacher gives with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from taskdistill.configs import choices
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.summaries import ProbeSummary
from taskdistill.storage.tables import read_table
from taskdistill.storage.upkeep import discard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_tensors
from taskdistill.tasks.catalog import EXTRACT, INGEST, PRECOMPUTE, PROBE
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.folds import folds_of
from taskdistill.tasks.models.encoder import LAST, Block, Encoder
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.training.fold_heads import read_fold_heads
from tests.conftest import PROBE_SETTINGS, Bench, said_of
from tests.fakes import write_shapes

FOLDS = PROBE_SETTINGS.model_copy(update={"folds": 3, "steps": 12})
OUT_OF_FOLD = PrecomputeConfig(train_logits="out-of-fold")


def probed(bench: Bench, **named: Any) -> ArtifactRef:
    return bench.run(PROBE, ProbeConfig(probe=FOLDS), images=bench.images, features=bench.features, **named)


class MagentaEncoder(Encoder):
    """Says the mean colours of an image, and in a place of its own whether all of it is magenta."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = (Block(LAST, 4),)
        self.preprocessing = Preprocessing(16, (0.0,) * 3, (1.0,) * 3, "bilinear", 1.0, "center")
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, images_NCHW: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        colours_N3 = images_NCHW.mean((2, 3))
        is_magenta_N = (colours_N3[:, 0] > 0.99) & (colours_N3[:, 1] < 0.01) & (colours_N3[:, 2] > 0.99)
        return (torch.cat([colours_N3, is_magenta_N[:, None].float()], dim=1) * self.scale,)


def build_magenta_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> MagentaEncoder:
    return MagentaEncoder()


def test_a_head_of_a_fold_never_saw_an_image_of_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.MODEL_SOURCES, "timm", f"{__name__}:build_magenta_encoder")
    folder = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, side=16)
    Image.new("RGB", (16, 16), (255, 0, 255)).save(folder / "train/disc/magenta.png")
    views = ViewSettings(num_views=2, brightness=0, contrast=0, saturation=0)
    images = bench.run(INGEST, IngestConfig(path=str(folder)))
    features = bench.run(EXTRACT, ExtractConfig(backbone=Backbone(weights="random"), views=views), images=images)
    probe = bench.path(bench.run(PROBE, ProbeConfig(probe=FOLDS), images=images, features=features))

    (row,) = [row for row in read_table(probe / "folds.parquet") if row["id"].endswith("magenta.png")]
    torch.manual_seed(0)
    first_K = torch.nn.init.normal_(torch.nn.Linear(4, 3).weight, std=0.01)[:, 3].detach().numpy()
    for fold in range(3):
        # Without decay, a weight moves only where the feature that it weighs is not 0: in one image alone.
        weights_K = read_tensors(probe / f"head-fold{fold}.safetensors")["weight"][:, 3]
        assert np.array_equal(weights_K, first_K) == (fold == row["fold"]), fold


def test_training_and_validation_images_are_dealt_to_folds_together(workshop: Bench) -> None:
    rows = read_table(workshop.path(probed(workshop)) / "folds.parquet")
    images = ImageSet.open(workshop.path(workshop.images))
    dealt = images.rows_of("train", "val")
    ids = [images.ids[row] for row in dealt]
    fold_N = folds_of(ids, images.labels[dealt], 3)
    assert [(row["id"], row["fold"]) for row in rows] == list(zip(ids, fold_N.tolist(), strict=True))


def test_the_head_that_is_kept_is_the_one_of_a_probe_without_folds(workshop: Bench) -> None:
    plain = ProbeConfig(probe=FOLDS.model_copy(update={"folds": 0}))
    without = workshop.run(PROBE, plain, images=workshop.images, features=workshop.features)
    for name in ("head.safetensors", "grid.parquet", "model.json"):
        assert (workshop.path(probed(workshop)) / name).read_bytes() == (workshop.path(without) / name).read_bytes()
    scores, with_folds = (ProbeSummary.of(workshop.store.manifest(ref)) for ref in (without, probed(workshop)))
    assert scores.model_copy(update={"folds": 3}) == with_folds


def test_killed_among_the_folds_and_run_again_it_ends_in_the_very_same_bytes(bench: Bench) -> None:
    files = bench.store.manifest(whole := probed(bench)).files
    assert {
        "folds.parquet",
        "head-fold0.safetensors",
        "head-fold1.safetensors",
        "head-fold2.safetensors",
    } < files.keys()
    discard(bench.store, whole)

    def die(unit: str, done: int, total: int) -> None:
        assert total == 12 * 4
        if done == 30:  # 12 steps of the grid, 12 without fold 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probed(bench, on_progress=die)
    assert bench.store.manifest(probed(bench)).files == files


def test_more_folds_than_training_images_are_refused(bench: Bench, tmp_path: Path) -> None:
    images = bench.run(
        INGEST, IngestConfig(path=str(write_shapes(tmp_path / "few", {"train": 3, "val": 2, "test": 1})))
    )
    features = bench.run(EXTRACT, ExtractConfig(backbone=Backbone(name="test_resnet", weights="random")), images=images)
    config = ProbeConfig(probe=FOLDS.model_copy(update={"folds": 10}))
    said = r"probe\.folds is 10, and there are 9 training images: .* or to 0 for none; .* tuning\.folds to fewer"
    with pytest.raises(DatasetError, match=said):
        bench.run(PROBE, config, images=images, features=features)


def test_out_of_fold_logits_are_those_of_the_head_that_left_the_image_out(workshop: Bench) -> None:
    probe = probed(workshop)
    given = {"features": workshop.features, "probe": probe, "images": workshop.images}
    logits = ViewOutputs(workshop.path(workshop.run(PRECOMPUTE, OUT_OF_FOLD, **given)))
    features, images = ViewOutputs(workshop.path(workshop.features)), ImageSet.open(workshop.path(workshop.images))
    fold_of = {row["id"]: row["fold"] for row in read_table(workshop.path(probe) / "folds.parquet")}
    last = features.attributes["blocks"].index("last")
    for row, (image_id, split) in enumerate(zip(images.ids, images.splits, strict=True)):
        name = f"head-fold{fold_of[image_id]}" if split == "train" else "head"
        head = read_tensors(workshop.path(probe) / f"{name}.safetensors")
        view = 2 if split == "train" else 0
        expected_1K = said_of(features, images, [row], view)[:, last].astype(np.float64) @ head["weight"].T
        np.testing.assert_allclose(said_of(logits, images, [row], view), expected_1K + head["bias"], atol=2e-3)


def test_heads_are_read_as_they_were_written(workshop: Bench) -> None:
    folder = workshop.path(probed(workshop))
    found = read_fold_heads(folder, ModelDescription.read(folder), [Block("last", 64)])
    assert len(found.heads) == 3
    assert len(found.fold_of) == 24 + 12
    weight = read_tensors(folder / "head-fold2.safetensors")["weight"]
    assert np.array_equal(found.heads[2].get_parameter("weight").detach().numpy(), weight)


def test_a_probe_without_folds_is_refused_with_what_to_do(workshop: Bench) -> None:
    given = {"features": workshop.features, "probe": workshop.probe}
    with pytest.raises(CacheMismatchError, match=r"has no heads that left out a fold.*set probe\.folds"):
        workshop.run(PRECOMPUTE, OUT_OF_FOLD, images=workshop.images, **given)
    with pytest.raises(CacheMismatchError, match="'out-of-fold' needs the input images"):
        workshop.run(PRECOMPUTE, OUT_OF_FOLD, **given)
