"""Stage "probe": a grid of linear heads on cached features, of which the best on validation is kept."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, ProbeConfig, ProbeSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.catalog import EXTRACT, INGEST, PROBE
from taskdistill.tasks.models.encoder import ModelError
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench, said_of
from tests.fakes import write_shapes

GRID = ProbeSettings(inputs=("last", "last4+mean"), learning_rates=(1e-4, 0.3, 1.0), steps=60, batch_size=16)


def probe(bench: Bench, **settings: object) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Train a probe on the teacher's features; returns its summary and the table of the grid."""
    return probe_on(bench, bench.features, **settings)


def probe_on(
    bench: Bench, features: ArtifactRef, **settings: object
) -> tuple[dict[str, object], list[dict[str, object]]]:
    config = ProbeConfig(probe=GRID.model_copy(update=settings))
    ref = bench.run(PROBE, config, images=bench.images, features=features)
    return dict(bench.summary(ref)), read_table(bench.path(ref) / "grid.parquet")


def test_it_learns_features_that_are_separable(workshop: Bench) -> None:
    summary, _ = probe(workshop)
    assert summary["val_score"] == 1.0
    assert summary["images"] == 24


def test_its_accuracy_on_validation_has_the_standard_error_of_a_share_of_twelve_images(workshop: Bench) -> None:
    summary, _ = probe(workshop, steps=1, learning_rates=(1e-4,))
    share = float(str(summary["val_score"]))
    assert 0 < share < 1
    error = summary["val_score_standard_error"]
    assert error == pytest.approx((share * (1 - share) / 12) ** 0.5, abs=1e-6)


def test_the_grid_has_one_row_for_each_input_and_learning_rate(workshop: Bench) -> None:
    summary, grid = probe(workshop)
    assert summary["grid"] == 6
    assert [(row["input"], row["learning_rate"]) for row in grid] == [
        (name, rate) for name in ("last", "last4+mean") for rate in (1e-4, 0.3, 1.0)
    ]


def test_the_best_on_validation_is_kept_and_the_smaller_loss_decides_between_equals(workshop: Bench) -> None:
    summary, grid = probe(workshop)
    best = max(grid, key=lambda row: (row["val_score"], -row["val_loss"]))
    assert sum(row["val_score"] == best["val_score"] for row in grid) > 1  # the loss did decide
    assert (summary["input"], summary["learning_rate"]) == (best["input"], best["learning_rate"])


def test_the_head_on_disk_is_the_one_that_was_scored(finished_bench: Bench) -> None:
    bench = finished_bench
    images, features = ImageSet.open(bench.path(bench.images)), ViewOutputs(bench.path(bench.features))
    head = load_file(bench.path(bench.probe) / "head.safetensors")
    rows = images.rows_of("val")
    block = features.attributes["blocks"].index("last")
    logits_NK = (
        said_of(features, images, rows, 0)[:, block].astype(np.float64) @ head["weight"].numpy().T
        + head["bias"].numpy()
    )
    likely_N = logits_NK - np.log(np.exp(logits_NK).sum(axis=1, keepdims=True))
    loss = -likely_N[np.arange(len(rows)), images.labels[rows]].mean()

    grid = read_table(bench.path(bench.probe) / "grid.parquet")
    rate = bench.summary(bench.probe)["learning_rate"]
    (row,) = [row for row in grid if row["learning_rate"] == rate]
    assert row["val_loss"] == pytest.approx(loss, rel=1e-3)
    assert row["val_score"] == (logits_NK.argmax(1) == images.labels[rows]).mean()


def test_a_learning_rate_that_diverges_does_not_win_and_does_not_disturb_the_others(workshop: Bench) -> None:
    alone, _ = probe(workshop, inputs=("last",), learning_rates=(1.0,))
    summary, grid = probe(workshop, inputs=("last",), learning_rates=(1.0, 1e38))
    assert not math.isfinite(grid[1]["val_loss"])
    assert summary["learning_rate"] == 1.0
    assert summary["val_score"] == alone["val_score"] == 1.0


def test_a_diverged_head_loses_even_to_one_that_has_learnt_nothing_and_scores_less(workshop: Bench) -> None:
    summary, grid = probe(workshop, inputs=("last",), learning_rates=(1e-12, 1e38), seed=2)
    assert not math.isfinite(grid[1]["val_loss"])
    assert grid[1]["val_score"] > grid[0]["val_score"]  # a head of NaNs says the first class, and is right at times
    assert summary["learning_rate"] == 1e-12


def test_learning_rates_are_for_a_batch_of_256(workshop: Bench) -> None:
    _, (row,) = probe(workshop, inputs=("last",), learning_rates=(1.0,), batch_size=16, steps=1)
    (features, targets), head = _first_batch(workshop, 16)
    torch.nn.functional.cross_entropy(head(features), targets).backward()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter -= 16 / 256 * parameter.grad
        images, cached = (
            ImageSet.open(workshop.path(workshop.images)),
            ViewOutputs(workshop.path(workshop.features)),
        )
        rows = images.rows_of("val")
        logits_NK = head(torch.from_numpy(said_of(cached, images, rows, 0)[:, 3]).float())
        expected = torch.nn.functional.cross_entropy(logits_NK, torch.from_numpy(images.labels[rows]))
    assert row["val_loss"] == pytest.approx(float(expected), rel=1e-5)


def _first_batch(bench: Bench, size: int) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.nn.Linear]:
    """What the first step of seed 0 sees (view 1 of the first images of epoch 0), and the head it begins with."""
    images, cached = ImageSet.open(bench.path(bench.images)), ViewOutputs(bench.path(bench.features))
    train = images.rows_of("train")
    rows = train[np.random.default_rng([0, 0]).permutation(len(train))[:size]]
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 3)
    torch.nn.init.normal_(head.weight, std=0.01)
    torch.nn.init.zeros_(head.bias)
    return (
        torch.from_numpy(said_of(cached, images, rows, 1)[:, 3]).float(),
        torch.from_numpy(images.labels[rows]),
    ), head


def test_a_head_trained_on_clean_views_alone_differs_from_one_trained_on_augmented_ones(workshop: Bench) -> None:
    both = ExtractConfig(backbone=TEACHER, views=VIEWS, train_views="both")
    features = workshop.run(EXTRACT, both, images=workshop.images)
    on_augmented = probe_on(workshop, features, train_on="augmented")
    assert probe_on(workshop, features, train_on="clean")[1] != on_augmented[1]
    # The clean views beside them change nothing for who does not ask for them.
    assert on_augmented[1] == probe(workshop)[1]


def test_clean_views_that_were_not_extracted_are_asked_for_with_what_to_do(workshop: Bench) -> None:
    with pytest.raises(
        CacheMismatchError,
        match=r"hold only the augmented views of 'train/disc/000.png' and of 23 other images, and the clean view was "
        r"asked for\..* Set train_views",
    ):
        probe(workshop, train_on="clean")


def test_augmented_views_that_were_not_extracted_are_asked_for(workshop: Bench) -> None:
    clean_only = ExtractConfig(backbone=STUDENT, views=ViewSettings(num_views=0))
    features = workshop.run(EXTRACT, clean_only, images=workshop.images)
    augmented, clean = (
        ProbeConfig(probe=GRID.model_copy(update=dict(inputs=("last",), train_on=on))) for on in ("augmented", "clean")
    )
    with pytest.raises(CacheMismatchError, match=r"hold the clean view only.*views.num_views to at least 1"):
        workshop.run(PROBE, augmented, images=workshop.images, features=features)
    assert workshop.summary(workshop.run(PROBE, clean, images=workshop.images, features=features))["val_score"] > 0.6


def test_features_of_other_images_are_refused(workshop: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write_shapes(tmp_path_factory.mktemp("other"), {"train": 2, "val": 1, "test": 1}, side=16, seed=1)
    images = workshop.run(INGEST, IngestConfig(path=str(other)))
    message = f"features@{workshop.features.fingerprint[:12]} do not fit. images: these are of "
    with pytest.raises(CacheMismatchError, match=message + workshop.images.fingerprint[:50]):
        workshop.run(PROBE, ProbeConfig(), images=images, features=workshop.features)


def test_a_head_on_blocks_that_the_encoder_does_not_have_is_refused(workshop: Bench) -> None:
    config = ProbeConfig(probe=ProbeSettings(inputs=("last", "last4")))
    with pytest.raises(ModelError, match=r"there are the blocks \['last'\], not \['layer-4', 'layer-3', 'layer-2'\]"):
        workshop.run(PROBE, config, images=workshop.images, features=workshop.student_features)


def test_a_probe_says_how_to_build_the_network_it_belongs_to(finished_bench: Bench) -> None:
    description = ModelDescription.read(finished_bench.path(finished_bench.probe))
    assert Backbone.model_validate(description.backbone).name == "test_vit"
    assert description.blocks == ["last"]
    assert description.classes == ["disc", "frame", "wedge"]
    assert description.preprocessing["side_px"] == 48
