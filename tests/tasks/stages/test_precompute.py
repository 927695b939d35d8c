"""Stages "precompute" and "precompute-images": what the teacher says of every view, with the encoder at rest or not."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from taskdistill.configs import choices
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import (
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    ProbeConfig,
    ProbeSettings,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.upkeep import discard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, FINETUNE, PRECOMPUTE, PRECOMPUTE_IMAGES, PROBE
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.functional.views import draw_view, replay
from taskdistill.tasks.models.task_model import load_model
from tests.conftest import TEACHER, VIEWS, Bench, said_of
from tests.storage.artifacts import write_format_1


def test_logits_are_the_head_applied_to_the_features_of_each_view(finished_bench: Bench) -> None:
    bench = finished_bench
    features, logits = ViewOutputs(bench.path(bench.features)), ViewOutputs(bench.path(bench.logits))
    head = load_file(bench.path(bench.probe) / "head.safetensors")
    assert (logits.num_views, logits.row_shape) == (3, (3,))
    for view in range(3):
        last_ND = features.view(view)[:, features.attributes["blocks"].index("last")].astype(np.float64)
        expected_NK = last_ND @ head["weight"].numpy().T + head["bias"].numpy()
        np.testing.assert_allclose(logits.view(view), expected_NK, rtol=2e-3, atol=2e-3)


def test_logits_in_one_byte_a_number_are_those_in_two_within_half_a_step(workshop: Bench) -> None:
    inputs = {"features": workshop.features, "probe": workshop.probe}
    ref = workshop.run(PRECOMPUTE, PrecomputeConfig(logits="int8"), **inputs)
    assert ref != workshop.logits
    kept, exact = (ViewOutputs(workshop.path(one)).view(1).astype(float) for one in (ref, workshop.logits))
    step_N1 = np.ptp(exact, axis=1, keepdims=True) / 255
    assert (np.abs(kept - exact) <= step_N1 / 2 + np.abs(exact) * 2**-11 + 1e-6).all()
    assert not np.array_equal(kept, exact)


def test_a_head_on_several_blocks_sees_them_in_the_order_of_its_description(workshop: Bench) -> None:
    settings = ProbeSettings(inputs=("last4+mean",), learning_rates=(0.1,), steps=3, batch_size=16)
    probe = workshop.run(PROBE, ProbeConfig(probe=settings), images=workshop.images, features=workshop.features)
    ref = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=workshop.features, probe=probe)
    head = load_file(workshop.path(probe) / "head.safetensors")
    all_ND = ViewOutputs(workshop.path(workshop.features)).view(1).astype(np.float64).reshape(24, -1)
    expected_NK = all_ND @ head["weight"].numpy().T + head["bias"].numpy()
    np.testing.assert_allclose(ViewOutputs(workshop.path(ref)).view(1), expected_NK, rtol=2e-3, atol=2e-3)


def test_a_draft_of_all_views_is_not_continued_from_features_that_hold_fewer(bench: Bench) -> None:
    """As an earlier version leaves it whose features were discarded and made again."""
    config = PrecomputeConfig()
    inputs = {"features": bench.features, "probe": bench.probe}
    recipe = PRECOMPUTE.recipe(config, inputs, {})
    discard(bench.store, bench.logits, with_dependents=True)
    ids, outputs = ViewOutputs(bench.path(bench.features)).ids, np.zeros((48, 3, 3), np.float16)
    views, thumbnails = np.zeros((48, 3, 9), np.float32), np.zeros((48, 3, 64), np.uint8)
    draft = bench.store.draft(PRECOMPUTE.reference(config, inputs, {}), recipe)
    write_format_1(draft, ids, outputs, views, thumbnails, chunk_rows=48)
    with pytest.raises(CacheMismatchError, match=f"taskdistill discard logits@{bench.logits.fingerprint[:12]}"):
        bench.run(PRECOMPUTE, config, **inputs)


def test_the_encoder_of_a_probed_teacher_does_not_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(choices.MODEL_SOURCES, "timm")  # it could not even be built
    config = ProbeConfig(probe=ProbeSettings(learning_rates=(0.1,), steps=1, batch_size=16))
    probe = bench.run(PROBE, config, images=bench.images, features=bench.features)
    ref = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.features, probe=probe)
    assert bench.summary(ref)["encoder_forwards"] == 0


def test_views_and_thumbnails_travel_with_the_logits(finished_bench: Bench) -> None:
    bench = finished_bench
    features, logits = ViewOutputs(bench.path(bench.features)), ViewOutputs(bench.path(bench.logits))
    for view in range(3):
        assert logits.ids_of(view) == features.ids_of(view)
        assert np.array_equal(logits.view_fields(0, 24, view), features.view_fields(0, 24, view))
        assert np.array_equal(logits.thumbnails(0, 24, view), features.thumbnails(0, 24, view))
    assert logits.ids == features.ids
    assert logits.attributes["images"] == bench.images.fingerprint
    assert logits.attributes["views"] == VIEWS.identity()
    assert logits.attributes["classes"] == ["disc", "frame", "wedge"]


def test_a_probe_of_another_encoder_is_refused_saying_which(workshop: Bench) -> None:
    own = ViewOutputs(workshop.path(workshop.features)).attributes["encoder"]
    with pytest.raises(CacheMismatchError, match=f"do not fit. encoder: these are of {own[:50]}.* was asked for"):
        workshop.run(PRECOMPUTE, PrecomputeConfig(), features=workshop.features, probe=workshop.student_probe)


def test_the_same_architecture_with_other_weights_is_another_encoder(workshop: Bench) -> None:
    reseeded = TEACHER.model_copy(update={"seed": 1})
    features = workshop.run(EXTRACT, ExtractConfig(backbone=reseeded, views=VIEWS), images=workshop.images)
    with pytest.raises(CacheMismatchError, match=r"do not fit\. encoder"):
        workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=workshop.probe)


@pytest.fixture
def finetuned(workshop: Bench) -> ArtifactRef:
    """The teacher after a few steps on the labels: its features are no longer the cached ones."""
    training = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3, keep="last")
    config = FinetuneConfig(backbone=TEACHER, views=VIEWS, training=training)
    return workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.probe)


@torch.inference_mode()
def test_logits_of_a_finetuned_teacher_are_what_it_says_of_each_view(workshop: Bench, finetuned: ArtifactRef) -> None:
    config = PrecomputeImagesConfig(views=VIEWS)
    ref = workshop.run(PRECOMPUTE_IMAGES, config, images=workshop.images, model=finetuned)
    assert workshop.summary(ref)["encoder_forwards"] == 24 * 2 + 24
    logits, images = ViewOutputs(workshop.path(ref)), ImageSet.open(workshop.path(workshop.images))
    model, description = load_model(workshop.path(finetuned))
    mean, std = (np.asarray(description.preprocessing[name]) for name in ("mean", "std"))
    for row, view in ((13, 1), (30, 2)):
        fields = draw_view(images.ids[row], view, 40, 40, VIEWS)
        cut = replay(decode_rgb(images.image(row)), fields, (48, 48), description.preprocessing["interpolation"])
        shown = torch.from_numpy((cut / 255 - mean) / std).permute(2, 0, 1)[None].float()
        np.testing.assert_allclose(said_of(logits, images, [row], view), model(shown), rtol=2e-3, atol=2e-3)


def test_a_finetuned_teacher_says_other_things_than_the_probed_one(workshop: Bench, finetuned: ArtifactRef) -> None:
    config = PrecomputeImagesConfig(views=VIEWS)
    ref = workshop.run(PRECOMPUTE_IMAGES, config, images=workshop.images, model=finetuned)
    before, after = (
        ViewOutputs(workshop.path(workshop.logits)).view(1),
        ViewOutputs(workshop.path(ref)).view(1),
    )
    assert np.abs(before.astype(np.float32) - after).mean() > 0.05


@pytest.mark.parametrize("is_finetuned", [True, False], ids=["finetuned", "probed"])
def test_a_draft_in_which_every_chunk_is_there_is_committed_without_a_network(
    bench: Bench, is_finetuned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TrainingSettings(epochs=1, batch_size=24, keep="last")
    config = FinetuneConfig(backbone=TEACHER, views=VIEWS, training=training)
    model = bench.run(FINETUNE, config, images=bench.images, probe=bench.probe)
    stage, config, inputs = (
        (PRECOMPUTE_IMAGES, PrecomputeImagesConfig(views=VIEWS), {"images": bench.images, "model": model})
        if is_finetuned
        else (PRECOMPUTE, PrecomputeConfig(), {"features": bench.features, "probe": bench.probe})
    )
    ref = bench.run(stage, config, **inputs)
    files = bench.store.manifest(ref).files
    shutil.rmtree(bench.path(ref))

    def die(*_: object, **__: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "commit", die)
        with pytest.raises(InterruptedError):
            bench.run(stage, config, **inputs)
    # Neither a teacher nor a head could be built now, on whatever device.
    monkeypatch.delitem(choices.MODEL_SOURCES, "timm")
    monkeypatch.delitem(choices.PROBLEMS, "classification")
    assert bench.run(stage, config, **inputs) == ref
    assert bench.store.manifest(ref).files == files
    assert bench.summary(ref)["outputs"] == [3]


def test_a_file_of_weights_may_move_and_stays_the_same_encoder() -> None:
    here, there = (
        Backbone(name="test_vit", weights="file", file=path) for path in ("/a.safetensors", "/b.safetensors")
    )
    assert here.identity() == there.identity()
