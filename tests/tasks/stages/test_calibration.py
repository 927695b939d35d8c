"""A teacher's logits divided by the temperature that fits the validation images."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import read_tensors
from taskdistill.tasks.catalog import EXTRACT, INGEST, PRECOMPUTE, PROBE
from tests.conftest import PROBE_SETTINGS, TEACHER, VIEWS, Bench, said_of
from tests.fakes import draw_shape, write_shapes

CALIBRATED = PrecomputeConfig(calibration="temperature")


def test_the_temperature_is_that_of_an_independent_search(workshop: Bench, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path, {"train": 6, "val": 4, "test": 1}, seed=7)
    for number in range(2):  # that any probe gets wrong, so that the loss has a minimum
        draw_shape("frame", 900 + number).save(folder / f"val/disc/wrong-{number}.png")
    images = workshop.run(INGEST, IngestConfig(path=str(folder)))
    features = workshop.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=images)
    probe = workshop.run(PROBE, ProbeConfig(probe=PROBE_SETTINGS), images=images, features=features)
    given = {"features": features, "probe": probe}
    ref = workshop.run(PRECOMPUTE, CALIBRATED, images=images, **given)

    cached, labelled = ViewOutputs(workshop.path(features)), ImageSet.open(workshop.path(images))
    head, rows = read_tensors(workshop.path(probe) / "head.safetensors"), labelled.rows_of("val")
    last_ND = said_of(cached, labelled, rows, 0)[:, cached.attributes["blocks"].index("last")].astype(np.float64)
    logits_NK = last_ND @ head["weight"].T + head["bias"]

    def loss(temperature: float) -> float:
        log_NK = log_softmax(logits_NK / temperature, axis=1)
        return -float(log_NK[np.arange(len(rows)), labelled.labels[rows]].mean())

    best = minimize_scalar(loss, bounds=(0.25, 4), method="bounded", options={"xatol": 1e-9}).x
    assert 0.26 < best < 3.9  # a minimum, not an end
    found = workshop.summary(ref)["temperature"]
    assert found == pytest.approx(best, rel=1e-3)
    assert workshop.summary(ref)["said"] == []
    plain, divided = (
        ViewOutputs(workshop.path(one)) for one in (workshop.run(PRECOMPUTE, PrecomputeConfig(), **given), ref)
    )
    for view in range(3):
        np.testing.assert_allclose(divided.view(view) * found, plain.view(view), rtol=2e-3, atol=2e-3)


def test_where_all_validation_images_are_right_the_temperature_is_one_and_that_is_said(
    workshop: Bench,
) -> None:
    given = {"features": workshop.features, "probe": workshop.probe}
    summary = workshop.summary(workshop.run(PRECOMPUTE, CALIBRATED, images=workshop.images, **given))
    assert workshop.summary(workshop.probe)["val_score"] == 1.0
    assert summary["temperature"] == 1
    assert "as where all of them are classified right" in summary["said"][0]


def test_synthetic_images_get_the_temperature_of_the_real_ones(workshop: Bench, tmp_path: Path) -> None:
    given = {"features": workshop.features, "probe": workshop.probe}
    real = workshop.run(PRECOMPUTE, CALIBRATED, images=workshop.images, **given)
    other = write_shapes(tmp_path, {"train": 3, "val": 1, "test": 1}, seed=5)
    images = workshop.run(INGEST, IngestConfig(path=str(other)))
    features = workshop.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=images)
    taken = workshop.run(PRECOMPUTE, CALIBRATED, features=features, probe=workshop.probe, calibrated=real)
    assert workshop.summary(taken)["temperature"] == workshop.summary(real)["temperature"]


def test_without_labels_to_fit_or_a_temperature_to_take_over_it_is_refused(workshop: Bench) -> None:
    given = {"features": workshop.features, "probe": workshop.probe}
    with pytest.raises(CacheMismatchError, match="calibration 'temperature' needs the input images or calibrated"):
        workshop.run(PRECOMPUTE, CALIBRATED, **given)
    with pytest.raises(CacheMismatchError, match="are not calibrated, so that no temperature can be taken over"):
        workshop.run(PRECOMPUTE, CALIBRATED, calibrated=workshop.logits, **given)
