"""The optimisation loop that finetune and distill share, run through finetune: continuing, averaging, BatchNorm."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from taskdistill.configs.stages import FinetuneConfig, ProbeConfig, ProbeSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.checkpoints import CHECKPOINT
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import FINETUNE, PROBE
from taskdistill.tasks.models.device import on_device
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.checkpoint import load, save
from taskdistill.tasks.training.loss_notes import TrainingDivergedError
from taskdistill.tasks.training.probed import probed_model
from tests.conftest import RUNTIME, STUDENT, VIEWS, Bench, said_of
from tests.storage.artifacts import TEARS, tear

pytestmark = pytest.mark.usefixtures("bare_pictures")

# 24 training images in batches of 8: an epoch is 3 steps.
SHORT = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
EVERY_STEP = {"checkpoint_seconds": 1e-9}


def config(seed: int = 0, **training: Any) -> FinetuneConfig:
    settings = TrainingSettings.model_validate(SHORT.model_dump() | training)
    return FinetuneConfig(backbone=STUDENT, views=VIEWS, training=settings, seed=seed)


def finetune(bench: Bench, seed: int = 0, **training: Any) -> ArtifactRef:
    return bench.run(FINETUNE, config(seed, **training), images=bench.images, probe=bench.student_probe)


def finetune_interrupted(bench: Bench, at_step: int, **training: Any) -> None:
    """Begin, and die in the middle of step `at_step`, after the checkpoint of the step before it."""

    def die(unit: str, done: int, total: int) -> None:
        if done == at_step:
            raise KeyboardInterrupt

    inputs = {"images": bench.images, "probe": bench.student_probe}
    with pytest.raises(KeyboardInterrupt):
        bench.run(FINETUNE, config(**training), on_progress=die, runtime=EVERY_STEP, **inputs)


def weights(bench: Bench, ref: ArtifactRef, name: str = "last") -> dict[str, torch.Tensor]:
    return dict(load_file(bench.path(ref) / f"{name}.safetensors"))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"ema": 0.7, "drop_path": 0.5},
        {"accumulate": 2, "batchnorm": "train", "mixup": 1.0, "cutmix": 1.0},
        {"epochs": 3, "batch_size": 10, "layer_decay": 0.7},
        {"head_first": 0.5, "ema": 0.7, "drop_path": 0.5, "batchnorm": "train"},
    ],
    ids=[
        "plain",
        "averaged with drop path",
        "accumulated with BatchNorm and mixing",
        "batches that straddle epochs",
        "head first",
    ],
)
def test_training_interrupted_twice_is_uninterrupted_training_bit_for_bit(
    bench: Bench, workshop: Bench, training: dict[str, Any]
) -> None:
    ref = finetune(workshop, **training)
    for at_step in (2, 4):
        finetune_interrupted(bench, at_step, **training)
        _, facts = load(bench.store.draft_path(ref)) or ({}, {})
        assert facts["step"] == at_step - 1
    assert finetune(bench, **training) == ref
    assert bench.store.manifest(ref).files == workshop.store.manifest(ref).files
    assert not (bench.path(ref) / CHECKPOINT).exists()


def test_a_training_killed_when_all_steps_are_done_continues_behind_the_last(
    bench: Bench, workshop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are a minute apart: the last one is written for this."""

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    ref, steps = finetune(workshop), list[int]()
    for where in (
        "taskdistill.tasks.training.student.draw_history",
        "taskdistill.storage.store.records_of",
    ):  # the last picture; digests of the commit
        monkeypatch.setattr(where, die)
        with pytest.raises(KeyboardInterrupt):
            finetune(bench)
        monkeypatch.undo()
    inputs = {"images": bench.images, "probe": bench.student_probe}
    bench.run(FINETUNE, config(), on_progress=lambda unit, done, total: steps.append(done), **inputs)
    assert steps == []
    assert bench.store.manifest(ref).files == workshop.store.manifest(ref).files
    assert not (bench.path(ref) / CHECKPOINT).exists()


@pytest.mark.parametrize("how", TEARS)
def test_a_checkpoint_that_a_disk_did_not_keep_whole_is_not_continued_from(
    bench: Bench, workshop: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    ref = finetune(workshop)
    finetune_interrupted(bench, 4)
    tear(bench.store.draft_path(ref) / CHECKPOINT, how)
    assert finetune(bench) == ref
    assert f"{CHECKPOINT} " in caplog.text
    assert "starting over" in caplog.text
    assert bench.store.manifest(ref).files == workshop.store.manifest(ref).files


def test_each_setting_of_training_does_something(workshop: Bench) -> None:
    once = {"epochs": 1}
    settings = [
        {},
        {"ema": 0.7},
        {"drop_path": 0.5},
        {"mixup": 1.0},
        {"cutmix": 1.0},
        {"layer_decay": 0.7},
        {"head_first": 0.4},
        {"seed": 1},
    ]
    found = [weights(workshop, finetune(workshop, **once, **setting)) for setting in settings]
    for first, second in itertools.combinations(found, 2):
        assert not same(first, second)


def test_averaged_weights_are_the_decayed_mean_of_the_steps(bench: Bench, workshop: Bench) -> None:
    twice = {"epochs": 1, "batch_size": 12}
    finetune_interrupted(bench, 2, ema=0.9, **twice)
    groups, _ = load(bench.store.draft_path(bench.store.drafts().popitem()[0])) or ({}, {})
    trained = groups["model"]
    second = weights(workshop, finetune(workshop, **twice))  # averaging does not touch the weights that are trained
    averaged = weights(workshop, finetune(workshop, ema=0.9, **twice))
    first = {**averaged, **trained}  # statistics that are frozen are in no checkpoint
    moved = 0
    for name, value in averaged.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.9 * first[name] + 0.1 * second[name], rtol=1e-5, atol=1e-7)
            moved += not torch.equal(first[name], second[name])
    assert moved > 10


def test_a_batch_in_parts_takes_the_same_steps_as_a_whole_one(workshop: Bench) -> None:
    whole, parts = (
        weights(workshop, finetune(workshop)),
        weights(workshop, finetune(workshop, accumulate=4)),
    )
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-3)


def test_statistics_of_batchnorm_stay_as_they_were_unless_told_to_move(workshop: Bench) -> None:
    def statistics(ref: ArtifactRef) -> dict[str, torch.Tensor]:
        return {name: value for name, value in weights(workshop, ref).items() if "running_" in name}

    frozen, trained = statistics(finetune(workshop)), statistics(finetune(workshop, batchnorm="train"))
    assert len(frozen) > 10
    for name, value in frozen.items():  # those of an untrained network
        assert torch.equal(value, torch.full_like(value, float("var" in name)))
        assert not torch.equal(value, trained[name])


def test_a_loss_that_is_no_number_stops_with_the_images_of_its_batch(workshop: Bench) -> None:
    images = ImageSet.open(workshop.path(workshop.images))
    with pytest.raises(TrainingDivergedError, match=r"Lower training\.learning_rate") as error:
        finetune(workshop, learning_rate=1e30, warmup=0, clip_norm=0)
    step, num_steps = (int(text) for text in re.findall(r"at step (\d+) of (\d+)", str(error.value))[0])
    assert (step, num_steps) == (1, 6)
    order = np.random.default_rng([0, 0]).permutation(24)[8:16]
    assert str(error.value).endswith(": " + ", ".join(images.ids[row] for row in images.rows_of("train")[order]))


def test_validation_comes_first_and_at_the_end_of_each_epoch_and_after_the_last_step(workshop: Bench) -> None:
    history = read_table(workshop.path(finetune(workshop, epochs=3, batch_size=10)) / "history.parquet")
    # 24 images, 10 a step, 8 steps: the epochs end within steps 3 and 5, and after step 8.
    assert [row["step"] for row in history] == [0, 3, 5, 8]
    assert [row["epoch"] for row in history] == [pytest.approx(step * 10 / 24) for step in (0, 3, 5, 8)]


def test_rarer_validation_changes_the_curve_and_not_the_last_weights(workshop: Bench) -> None:
    often, rarely = (finetune(workshop, epochs=3, batch_size=10, validate_every=every) for every in (1, 2))
    history = read_table(workshop.path(rarely) / "history.parquet")
    assert [row["step"] for row in history] == [0, 5, 8]  # 24 images: two epochs end in step 5
    first, second = (workshop.path(ref) / "last.safetensors" for ref in (often, rarely))
    assert first.read_bytes() == second.read_bytes()


def test_a_training_of_more_steps_than_its_epochs_ends_after_them_with_as_many_validations(workshop: Bench) -> None:
    ref = finetune(workshop, epochs=2, batch_size=8, min_steps=14)
    history = read_table(workshop.path(ref) / "history.parquet")
    assert [row["step"] for row in history] == [0, 7, 14]
    assert history[-1]["epoch"] == pytest.approx(14 * 8 / 24)
    assert history[-1]["learning_rate"] < 0.1 * history[1]["learning_rate"]  # it falls to 0 at the longer end
    assert workshop.summary(ref)["steps"] == 14


def test_a_minimum_that_its_epochs_reach_changes_no_byte(workshop: Bench) -> None:
    first, second = (workshop.store.manifest(finetune(workshop, min_steps=count)).files for count in (0, 6))
    assert first == second


def test_the_kept_weights_are_those_of_the_best_epoch_or_of_the_last(workshop: Bench) -> None:
    untrained = ProbeConfig(probe=ProbeSettings(learning_rates=(1e-6,), steps=1))  # so that training can better it
    probe = workshop.run(PROBE, untrained, images=workshop.images, features=workshop.student_features)
    ref = workshop.run(FINETUNE, config(epochs=4, learning_rate=3e-3), images=workshop.images, probe=probe)
    summary, history = workshop.summary(ref), read_table(workshop.path(ref) / "history.parquet")
    scores = [row["val_score"] for row in history]
    assert summary["best_val_score"] == max(scores) > scores[0]
    variance = max(scores) * (1 - max(scores))
    assert summary["best_val_score_standard_error"] == pytest.approx((variance / 12) ** 0.5, abs=1e-6)
    assert summary["best_step"] == summary["kept_step"] == history[scores.index(max(scores))]["step"]
    assert not same(weights(workshop, ref, "best"), weights(workshop, ref, "last"))
    descriptions = [
        (workshop.path(finetune(workshop, keep=keep)) / "model.json").read_text() for keep in ("best", "last")
    ]
    assert ["best.safetensors" in text for text in descriptions] == [True, False]


def test_the_last_weights_are_kept_unless_better_ones_scored_higher_by_more_than_their_error(workshop: Bench) -> None:
    spoilt = finetune(workshop, learning_rate=1.0, warmup=0, epochs=1, keep="last-unless-worse")
    history, summary = read_table(workshop.path(spoilt) / "history.parquet"), workshop.summary(spoilt)
    fall = history[0]["val_score"] - history[-1]["val_score"]
    assert fall > summary["best_val_score_standard_error"]
    assert summary["kept_step"] == 0
    hardly = finetune(workshop, learning_rate=1e-9, epochs=1, keep="last-unless-worse")
    summary = workshop.summary(hardly)
    assert (summary["best_step"], summary["kept_step"]) == (0, 3)


def test_the_model_it_starts_from_is_scored_before_the_first_step(workshop: Bench) -> None:
    start, *_ = read_table(workshop.path(finetune(workshop)) / "history.parquet")
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("val")
    head = load_file(workshop.path(workshop.student_probe) / "head.safetensors")
    clean_ND = torch.from_numpy(
        said_of(ViewOutputs(workshop.path(workshop.student_features)), images, rows, 0)[:, 0]
    ).float()
    said_N = (clean_ND @ head["weight"].T + head["bias"]).argmax(dim=1).numpy()
    assert start["val_score"] == pytest.approx((said_N == images.labels[rows]).mean())
    assert (start["step"], start["loss"], start["learning_rate"]) == (0, None, None)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_where_training_only_spoils_the_weights_it_started_from_are_kept(workshop: Bench, ema: float) -> None:
    ref = finetune(workshop, learning_rate=1.0, warmup=0, epochs=1, ema=ema)
    history = read_table(workshop.path(ref) / "history.parquet")
    assert history[1]["val_score"] < history[0]["val_score"]
    summary = workshop.summary(ref)
    assert (summary["best_step"], summary["kept_step"]) == (0, 0)
    assert summary["best_val_score"] == history[0]["val_score"]
    kept, probed = weights(workshop, ref, "best"), load_file(workshop.path(workshop.student_probe) / "head.safetensors")
    assert same({name.removeprefix("head."): kept[name] for name in kept if name.startswith("head.")}, probed)
    assert (
        workshop.summary(finetune(workshop, learning_rate=1.0, warmup=0, epochs=1, ema=ema, keep="last"))["kept_step"]
        == 3
    )


def test_a_start_that_was_scored_is_not_scored_again_when_training_continues(bench: Bench) -> None:
    finetune_interrupted(bench, 2)
    history = read_table(bench.path(finetune(bench)) / "history.parquet")
    assert [row["step"] for row in history] == [0, 3, 6]


def test_the_fused_optimiser_takes_the_steps_of_the_plain_one_where_weights_are_channels_last() -> None:
    """It goes through memory, in whatever order that is."""
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randn(4, 3, 9, 9, generator=generator)
    networks = [on_device(torch.nn.Conv2d(3, 8, 3), torch.device("cpu")) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    fused, plain = (
        torch.optim.AdamW(network.parameters(), lr=0.1, **how)
        for network, how in zip(networks, ({"fused": True}, {"foreach": False}), strict=True)
    )
    for network, optimizer in zip(networks, (fused, plain), strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            network(images_NCHW).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict())


def test_a_checkpoint_holds_no_tensor_that_is_frozen(bench: Bench, workshop: Bench) -> None:
    """BatchNorm normalises with its pretrained statistics, and the best weights may be those it started from."""
    finetune_interrupted(bench, 3, ema=0.7)
    [draft] = bench.store.drafts().values()
    groups, facts = load(draft) or ({}, {})
    names = weights(workshop, finetune(workshop, ema=0.7)).keys()
    trained = {name for name in names if "running_" not in name and "num_batches" not in name}
    assert len(trained) < len(names)
    assert groups["model"].keys() == trained
    assert groups["ema"].keys() == {"n_averaged", *(f"module.{name}" for name in trained)}
    assert (facts["best_step"], groups.get("best", {}).keys()) == (0, set())


def test_a_checkpoint_of_an_earlier_version_which_held_all_tensors_is_continued_to_the_same_bytes(
    bench: Bench, workshop: Bench
) -> None:
    training = {"ema": 0.7, "head_first": 0.5}
    ref = finetune(workshop, **training)
    finetune_interrupted(bench, 3, **training)
    draft = bench.store.draft_path(ref)
    groups, facts = load(draft) or ({}, {})
    context = StageContext({"probe": bench.path(bench.student_probe)}, draft, RUNTIME)
    start = dict(probed_model(STUDENT, context).state_dict())
    averaged = {f"module.{name}": tensor for name, tensor in start.items()}
    best = {**start, **groups.get("best", {})}
    earlier = {"model": {**start, **groups["model"]}, "ema": {**averaged, **groups["ema"]}, "best": best}
    save(draft, {**groups, **earlier}, facts)
    assert finetune(bench, **training) == ref
    assert bench.store.manifest(ref).files == workshop.store.manifest(ref).files
