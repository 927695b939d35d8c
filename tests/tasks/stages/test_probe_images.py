"""Stages "probe-images" and "precompute-probed": the same as from cached features, with nothing cached."""

from typing import Any

import numpy as np
import pytest
import timm

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.stages import PrecomputeConfig, PrecomputeProbedConfig, ProbeConfig, ProbeImagesConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.upkeep import discard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_tensors
from taskdistill.tasks.catalog import PRECOMPUTE, PRECOMPUTE_PROBED, PROBE, PROBE_IMAGES
from tests.conftest import PROBE_SETTINGS, STUDENT, TEACHER, VIEWS, Bench

CONFIG = ProbeImagesConfig(backbone=TEACHER, views=VIEWS, probe=PROBE_SETTINGS)


def probed(bench: Bench, config: ProbeImagesConfig = CONFIG, **named: Any) -> ArtifactRef:
    return bench.run(PROBE_IMAGES, config, images=bench.images, **named)


def test_heads_are_those_trained_on_cached_features_but_for_their_half_precision(bench: Bench) -> None:
    cached = bench.run(PROBE, ProbeConfig(probe=PROBE_SETTINGS), images=bench.images, features=bench.features)
    shown = probed(bench)
    grids = [read_table(bench.path(ref) / "grid.parquet") for ref in (shown, cached)]
    for ours, theirs in zip(*grids, strict=True):
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=2e-3)
    heads = [read_tensors(bench.path(ref) / "head.safetensors")["weight"] for ref in (shown, cached)]
    np.testing.assert_allclose(*heads, atol=2e-3)
    assert ModelDescription.read(bench.path(shown)) == ModelDescription.read(bench.path(cached))


@pytest.mark.parametrize("train_on", ["augmented", "clean"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_killed_and_run_again_it_ends_in_the_very_same_bytes(bench: Bench, train_on: str, optimizer: str) -> None:
    settings = PROBE_SETTINGS.model_copy(update={"train_on": train_on, "steps": 12, "optimizer": optimizer})
    config = CONFIG.model_copy(update={"probe": settings})
    whole = probed(bench, config)
    names = ("head.safetensors", "grid.parquet", "model.json")
    undisturbed = {name: (bench.path(whole) / name).read_bytes() for name in names}
    discard(bench.store, whole)
    steps = list[int]()

    def die_once(unit: str, done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probed(bench, config, on_progress=die_once, runtime={"checkpoint_seconds": 1e-9})
    again = probed(bench, config, on_progress=die_once)
    assert steps == [*range(1, 8), *range(7, 13)]
    assert {name: (bench.path(again) / name).read_bytes() for name in names} == undisturbed


def test_logits_are_those_of_cached_features_for_the_views_that_are_read(bench: Bench) -> None:
    from_features = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.features, probe=bench.probe)
    config = PrecomputeProbedConfig(backbone=TEACHER, views=VIEWS)
    from_images = bench.run(PRECOMPUTE_PROBED, config, images=bench.images, probe=bench.probe)
    shown, cached = (ViewOutputs(bench.path(ref)) for ref in (from_images, from_features))
    assert [part.views for part in shown.parts] == [part.views for part in cached.parts]
    for view in range(VIEWS.num_views + 1):
        assert shown.ids_of(view) == cached.ids_of(view)
        np.testing.assert_allclose(shown.view(view), cached.view(view), atol=2e-2)
    assert {name: shown.attributes[name] for name in cached.attributes} == cached.attributes


def test_a_probe_of_another_encoder_is_refused(bench: Bench) -> None:
    config = PrecomputeProbedConfig(backbone=STUDENT, views=VIEWS)
    with pytest.raises(CacheMismatchError, match="the probe was trained on features of test_vit"):
        bench.run(PRECOMPUTE_PROBED, config, images=bench.images, probe=bench.probe)


def test_augmented_views_that_are_not_there_are_refused_when_they_are_set() -> None:
    with pytest.raises(ValueError, match=r"set it to .clean., or views\.num_views to at least 1"):
        ProbeImagesConfig(views=ViewSettings(num_views=0))


def test_it_says_how_large_its_network_is_as_no_features_do(bench: Bench) -> None:
    network = timm.create_model("test_vit", num_classes=0, img_size=TEACHER.input_px)
    assert bench.summary(probed(bench))["parameters"] == sum(one.numel() for one in network.parameters())
