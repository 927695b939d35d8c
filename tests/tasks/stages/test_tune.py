"""Stages "tune-finetune" and "tune-distill": settings that choose themselves on held-out images, never on test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.stages import (
    DistillConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    ProbeConfig,
    ProbeSettings,
)
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig, TuningSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.files import read_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.weights import ModelDescription, read_tensors, write_tensors
from taskdistill.tasks.catalog import DISTILL, EXTRACT, FINETUNE, INGEST, PRECOMPUTE, PROBE, TUNE_DISTILL, TUNE_FINETUNE
from taskdistill.tasks.data import batches
from taskdistill.tasks.functional.folds import folds_of
from taskdistill.tasks.functional.shares import Share
from taskdistill.tasks.models.task_model import load_head
from taskdistill.tasks.training.fold_heads import write_folds
from taskdistill.tasks.training.loss_notes import TrainingDivergedError
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench
from tests.fakes import write_shapes

pytestmark = pytest.mark.usefixtures("bare_pictures")

# 24 training images in batches of 8 are 3 steps an epoch, 36 a training. Of 1.6 * 36, two trials get 9 and two get 18.
TRAINING = TrainingSettings(epochs=12, batch_size=8, learning_rate=1e-3)
UNTRAINED = ProbeConfig(probe=ProbeSettings(learning_rates=(1e-6,), steps=1))
EVERY_STEP = {"checkpoint_seconds": 1e-9}


def finetuning(default: float = 1e-3, rates: tuple[float, ...] = (1e-3,), **tuning: Any) -> TuneFinetuneConfig:
    training = TRAINING.model_copy(update={"learning_rate": default})
    settings = TuningSettings(**{"learning_rates": rates, "min_steps": 4, **tuning})
    return TuneFinetuneConfig(backbone=STUDENT, views=VIEWS, training=training, tuning=settings)


def tune(bench: Bench, config: TuneFinetuneConfig, probe: ArtifactRef | None = None, **named: Any) -> ArtifactRef:
    return bench.run(TUNE_FINETUNE, config, images=bench.images, probe=probe or bench.student_probe, **named)


def chosen(bench: Bench, ref: ArtifactRef) -> dict[str, float]:
    return dict(read_json(bench.path(ref) / "settings.json"))


def trials(bench: Bench, ref: ArtifactRef) -> list[dict[str, Any]]:
    return read_table(bench.path(ref) / "trials.parquet")


@pytest.fixture(scope="module")
def untrained(workshop: Bench) -> ArtifactRef:
    """A student's probe that has learnt nothing, so that training has something to gain."""
    return workshop.run(PROBE, UNTRAINED, images=workshop.images, features=workshop.student_features)


def with_folds(bench: Bench, probe: ArtifactRef, num_folds: int = 2) -> ArtifactRef:
    """Commit the same probe with a head for each fold: that of fold k answers class k more often."""
    manifest, source = bench.store.manifest(probe), bench.path(probe)
    images = ImageSet.open(bench.path(bench.images))
    rows = images.rows_of("train", "val")
    ids = [images.ids[row] for row in rows]
    fold_N = folds_of(ids, images.labels[rows], num_folds)
    recipe = manifest.recipe | {"folds": num_folds}
    ref = ArtifactRef("probe", fingerprint(recipe))
    with bench.store.lock(ref):
        draft = bench.store.draft(ref, recipe)
        for name in manifest.files:
            (draft / name).write_bytes((source / name).read_bytes())
        head = read_tensors(source / "head.safetensors")
        for fold in range(num_folds):
            bias = head["bias"] + np.eye(3, dtype=np.float32)[fold]
            write_tensors(draft / f"head-fold{fold}.safetensors", head | {"bias": bias})
        write_folds(draft, dict(zip(ids, fold_N.tolist(), strict=True)))
        bench.store.commit(ref, recipe=recipe, inputs=manifest.input_refs, summary=manifest.summary)
    return ref


@pytest.fixture(scope="module")
def folded(workshop: Bench, untrained: ArtifactRef) -> ArtifactRef:
    return with_folds(workshop, untrained)


# --- what is chosen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [1e-9, 10.0])
def test_a_clearly_bad_learning_rate_is_left_for_a_better_one(
    workshop: Bench, untrained: ArtifactRef, bad: float
) -> None:
    ref = tune(workshop, finetuning(bad, (3e-3,)), untrained)
    summary = workshop.summary(ref)
    assert chosen(workshop, ref) == summary["chosen"] == {"learning_rate": 3e-3}
    assert summary["default"] == {"learning_rate": bad}
    assert not summary["is_default"]
    assert summary["difference"] > summary["difference_standard_error"]
    assert summary["because"].startswith(f"learning_rate 0.003 in place of learning_rate {bad:g}: +")


def test_averaged_weights_of_a_short_trial_show_what_was_tried(workshop: Bench, untrained: ArtifactRef) -> None:
    """9 steps of a training of 600: at the decay of the whole training nine tenths of their mean were the start."""
    config = finetuning(1e-9, (3e-4,), budget=0.09)
    scores = [
        trials(workshop, tune(workshop, config.model_copy(update={"training": training}), untrained))[1]["score"]
        for ema in (0.0, 0.99)
        for training in [config.training.model_copy(update={"ema": ema, "min_steps": 600, "warmup": 0.5})]
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1 / 12)


def test_a_default_that_nothing_is_better_than_stays_and_it_is_said_why(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (1.1e-3,)))
    summary = workshop.summary(ref)
    assert chosen(workshop, ref) == {"learning_rate": 1e-3}
    assert summary["is_default"]
    assert summary["difference"] <= summary["difference_standard_error"]
    assert "learning_rate 0.001 stays: learning_rate 0.0011 is " in summary["because"]
    assert "12 validation images" in summary["because"]


def test_the_trials_take_no_more_than_the_budget_and_less_than_two_trainings(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (3e-4,)))
    summary, rows = workshop.summary(ref), trials(workshop, ref)
    assert (summary["steps_of_training"], summary["steps"], summary["cost"]) == (36, 54, 1.5)  # of 1.6 * 36
    assert [(row["rung"], row["seed"], row["learning_rate"], row["steps"]) for row in rows] == [
        (0, 0, 1e-3, 9), (0, 0, 3e-4, 9), (1, 1, 1e-3, 18), (1, 1, 3e-4, 18),
    ]  # fmt: skip
    assert sum(row["steps"] for row in rows) == 54


def test_a_list_with_the_default_alone_tries_nothing(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (1e-3,)))
    assert (chosen(workshop, ref), trials(workshop, ref)) == ({"learning_rate": 1e-3}, [])
    assert workshop.summary(ref)["because"] == "learning_rate 0.001 stays: the lists hold no other value"
    assert workshop.summary(ref)["cost"] == 0


def test_a_value_that_stands_twice_is_tried_once_and_said(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (1e-3, 1e-3)))
    said = "tuning has 0.001 more than once among the values of learning_rate: it is tried once"
    assert said in workshop.summary(ref)["said"]


def test_trainings_too_short_to_be_shared_leave_the_default_and_say_so(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (3e-4,), budget=0.4))  # 14 steps: 2 and 2 for the first two trials
    assert trials(workshop, ref) == []
    said = "trials would get 2, and fewer than 4 tell nothing; set training.min_steps to 60 or more"  # 6 x 4 = 0.4 x 60
    assert said in workshop.summary(ref)["because"]


def test_a_trial_that_diverges_is_noted_and_loses(bench: Bench) -> None:
    ref = tune(bench, finetuning(1e-3, (1e30,)))
    rows = trials(bench, ref)
    assert chosen(bench, ref) == {"learning_rate": 1e-3}
    assert "stays: training with learning_rate 1e+30 diverged" in bench.summary(ref)["because"]
    assert [bool(row["diverged"]) for row in rows] == [False, True, False, True]
    assert [row["score"] is None for row in rows] == [False, True, False, True]


def test_a_default_that_diverges_gives_way(bench: Bench) -> None:
    ref = tune(bench, finetuning(1e30, (1e-3,)))
    assert chosen(bench, ref) == {"learning_rate": 1e-3}
    because = "learning_rate 0.001 in place of learning_rate 1e+30: training with learning_rate 1e+30 diverged"
    assert bench.summary(ref)["because"] == because


def test_where_all_diverges_the_user_must_know(bench: Bench) -> None:
    with pytest.raises(TrainingDivergedError, match=r"Lower training\.learning_rate"):
        tune(bench, finetuning(1e30, (1e29,)))


# --- killed and continued ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at_steps", [(5, 9), (10, 30), (54,)], ids=["in and after a trial", "twice in one", "at the end"]
)
def test_a_search_that_was_killed_ends_with_the_same_bytes(
    bench: Bench, workshop: Bench, at_steps: tuple[int, ...]
) -> None:
    config = finetuning(1e-3, (3e-4,))
    whole = tune(workshop, config)
    for at_step in at_steps:
        with pytest.raises(KeyboardInterrupt):
            tune(bench, config, on_progress=dying_at(at_step), runtime=EVERY_STEP)
    again: list[int] = []
    assert tune(bench, config, on_progress=lambda unit, done, total: again.append(done)) == whole
    # Trials that were over are not run again, and the one it died in goes on where it was.
    assert [step for step in again if step < at_steps[-1]] == [done for done in (9, 18, 36) if done < at_steps[-1]]
    assert bench.store.manifest(whole).files == workshop.store.manifest(whole).files
    assert sorted(bench.store.manifest(whole).files) == ["settings.json", "trials.parquet"]


def dying_at(step: int) -> Callable[[str, int, int], None]:
    def die(unit: str, done: int, total: int) -> None:
        assert (unit, total) == ("steps", 54)
        if done == step:
            raise KeyboardInterrupt

    return die


# --- on which images ---------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of all images that were decoded."""
    found: set[str] = set()
    decode = batches.decoded_row

    def noted(images: ImageSet, row: int, **named: Any) -> Any:
        found.add(images.ids[row])
        return decode(images, row, **named)

    monkeypatch.setattr(batches, "decoded_row", noted)
    return found


def test_no_test_image_is_ever_decoded(workshop: Bench, folded: ArtifactRef, decoded: set[str]) -> None:
    tune(workshop, finetuning(1e-3, (3e-4,), seed=5))
    tune(workshop, finetuning(1e-3, (3e-4,), seed=5), folded)
    assert {name.partition("/")[0] for name in decoded} == {"train", "val"}
    assert len(decoded) == 36


def test_few_validation_images_without_folds_are_used_and_it_is_said(workshop: Bench) -> None:
    ref = tune(workshop, finetuning(1e-3, (3e-4,)))
    assert any("12 validation images of 3 classes are few" in one for one in workshop.summary(ref)["said"])


def test_each_rung_holds_out_another_fold(workshop: Bench, folded: ArtifactRef) -> None:
    ref = tune(workshop, finetuning(1e-9, (3e-3,)), folded)
    summary, rows = workshop.summary(ref), trials(workshop, ref)
    assert (summary["images"], summary["held_out"]) == (36, "36 training and validation images in 2 of 2 folds")
    assert [(row["fold"], row["images"], row["steps"]) for row in rows] == [
        (0, 18, 9), (0, 18, 9), (1, 18, 18), (1, 18, 18),
    ]  # fmt: skip


def test_a_fold_is_held_out_from_the_training_that_it_judges(
    workshop: Bench, folded: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each trial was shown to learn from, and to be judged on, by the draws and rows themselves."""
    from taskdistill.tasks.stages import finetune
    from taskdistill.tasks.stages import tune as stage

    taught: list[set[str]] = []
    judged: list[set[str]] = []
    load = finetune.FinetuneLesson.load

    def noting_load(lesson: finetune.FinetuneLesson, drawn: finetune.Draw, share: Share) -> Any:
        batch = load(lesson, drawn, share)
        taught[-1].update(batch.ids)
        return batch

    choose = stage.choose

    def noting_choose(search: Any, course: Any, context: Any) -> Any:
        def noting_course(fold: Any, settings: Any, seed: int) -> Any:
            taught.append(set())
            judged.append({search.source.images.ids[row] for row in fold.held_out_N})
            return course(fold, settings, seed)

        return choose(search, noting_course, context)

    monkeypatch.setattr(finetune.FinetuneLesson, "load", noting_load)
    monkeypatch.setattr(stage, "choose", noting_choose)
    tune(workshop, finetuning(1e-3, (2e-3,)), folded)
    assert len(taught) == 4  # two rungs of two candidates
    for shown, held in zip(taught, judged, strict=True):
        assert len(shown) >= 8
        assert len(held) == 18
        assert not shown & held


def test_a_fold_starts_from_the_head_that_did_not_see_it(workshop: Bench, folded: ArtifactRef) -> None:
    """At a learning rate of nothing the scores of a fold are those of its head."""
    ref = tune(workshop, finetuning(1e-12, (1e-11,)), folded)
    description = ModelDescription.read(workshop.path(folded))
    for row in trials(workshop, ref):
        name = f"head-fold{row['fold']}.safetensors"
        encoder = student_encoder()
        head = load_head(workshop.path(folded), description.model_copy(update={"weights": name}), encoder.blocks)
        assert row["score"] == pytest.approx(share_right(workshop, folded, encoder, head, row["fold"]))


def student_encoder() -> Any:
    from taskdistill.tasks.models.encoder import build_encoder

    return build_encoder(STUDENT).eval()


def share_right(bench: Bench, probe: ArtifactRef, encoder: Any, head: torch.nn.Module, fold: int) -> float:
    """Score a head on the clean views of a fold, cut one by one."""
    from taskdistill.tasks.data.batches import DecodedImages, ViewSource
    from taskdistill.tasks.models.preprocessing import normalise

    images = ImageSet.open(bench.path(bench.images))
    fold_of = {row["id"]: row["fold"] for row in read_table(bench.path(probe) / "folds.parquet")}
    rows = [row for row in range(len(images)) if fold_of.get(images.ids[row]) == fold]
    source = ViewSource(DecodedImages(images, cache_mb=64), VIEWS, encoder.preprocessing)
    pixels = source.cut(rows, source.views(rows, [0] * len(rows)))
    with torch.inference_mode():
        said = head(*encoder(normalise(pixels, encoder.preprocessing, torch.device("cpu")), ["last"]))
    return float((said.argmax(1).numpy() == images.labels[rows]).mean())


# --- distillation ----------------------------------------------------------------------------------------------------


def distilling(default: DistillSettings, **tuning: Any) -> TuneDistillConfig:
    settings = TuningSettings(**({"learning_rates": (1e-3,), "alphas": (0.5,), "temperatures": (2.0,)} | tuning))
    return TuneDistillConfig(backbone=STUDENT, views=VIEWS, training=TRAINING, distill=default, tuning=settings)


def tune_distillation(bench: Bench, config: TuneDistillConfig, probe: ArtifactRef | None = None) -> ArtifactRef:
    inputs = {"images": bench.images, "probe": probe or bench.student_probe, "logits": bench.logits}
    return bench.run(TUNE_DISTILL, config, **inputs)


def test_distillation_tries_each_list_with_the_other_settings_as_they_are(workshop: Bench, folded: ArtifactRef) -> None:
    config = distilling(DistillSettings(), alphas=(0.5,), temperatures=(4.0,), min_steps=4)
    ref = tune_distillation(workshop, config, folded)
    first = [row for row in trials(workshop, ref) if row["rung"] == 0]
    assert [(row["learning_rate"], row["alpha"], row["temperature"]) for row in first] == [
        (1e-3, 0.75, 2.0), (1e-3, 0.5, 2.0), (1e-3, 0.75, 4.0),
    ]  # fmt: skip
    assert chosen(workshop, ref).keys() == {"learning_rate", "alpha", "temperature"}
    assert workshop.summary(ref)["steps"] <= 57


# --- what is done with it --------------------------------------------------------------------------------------------


def test_a_training_uses_the_chosen_values_and_notes_them(workshop: Bench, untrained: ArtifactRef) -> None:
    settings = tune(workshop, finetuning(1e-9, (3e-3,)), untrained)
    training = TRAINING.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=training)
    given = {"images": workshop.images, "probe": untrained}
    told = workshop.run(FINETUNE, config, settings=settings, **given)
    itself = training.model_copy(update={"learning_rate": 3e-3})
    by_hand = workshop.run(FINETUNE, config.model_copy(update={"training": itself}), **given)
    assert told != by_hand
    assert workshop.summary(told)["learning_rate"] == 3e-3
    weights = [workshop.store.manifest(ref).files["last.safetensors"] for ref in (told, by_hand)]
    assert weights[0] == weights[1]


def test_distillation_uses_weight_and_temperature_too(workshop: Bench) -> None:
    settings = tune_distillation(workshop, distilling(DistillSettings(alpha=0.5)))
    training = TRAINING.model_copy(update={"epochs": 1})
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=training, distill=DistillSettings(alpha=0.1))
    given = {"images": workshop.images, "probe": workshop.student_probe, "logits": workshop.logits}
    summary = workshop.summary(workshop.run(DISTILL, config, settings=settings, **given))
    assert (summary["alpha"], summary["temperature"], summary["learning_rate"]) == (0.5, 2.0, 1e-3)


def test_settings_of_the_other_way_of_training_are_refused(workshop: Bench) -> None:
    settings = tune_distillation(workshop, distilling(DistillSettings(alpha=0.5)))
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    with pytest.raises(CacheMismatchError, match=r"was chosen by tune-distill, .* give what tune-finetune chose"):
        workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe, settings=settings)


def test_settings_chosen_with_another_probe_are_refused(workshop: Bench, untrained: ArtifactRef) -> None:
    settings = tune(workshop, finetuning(1e-3, (1e-3,)))
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    with pytest.raises(CacheMismatchError, match=r"was chosen with probe@\w+ as probe, .* run tune-finetune with that"):
        workshop.run(FINETUNE, config, images=workshop.images, probe=untrained, settings=settings)


# --- small sets ------------------------------------------------------------------------------------------------------


def test_two_classes_of_five_images_are_worked_with(bench: Bench, tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", {"": 5})
    for file in (tmp_path / "shapes" / "wedge").iterdir():
        file.unlink()
    (tmp_path / "shapes" / "wedge").rmdir()
    images = bench.run(INGEST, IngestConfig(path=str(tmp_path / "shapes")))
    features, teaching = (
        bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=images)
        for backbone in (STUDENT, TEACHER)
    )
    probe, teacher = (bench.run(PROBE, UNTRAINED, images=images, features=one) for one in (features, teaching))
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=teaching, probe=teacher)
    ref = bench.run(TUNE_DISTILL, distilling(DistillSettings()), images=images, probe=probe, logits=logits)
    assert " stay: " in bench.summary(ref)["because"]


def test_of_three_folds_only_those_are_named_that_the_trials_were_judged_on(
    workshop: Bench, untrained: ArtifactRef
) -> None:
    """Two rungs hold out a fold each, of 12 images."""
    summary = workshop.summary(tune(workshop, finetuning(1e-9, (3e-3,)), with_folds(workshop, untrained, 3)))
    assert (summary["images"], summary["held_out"]) == (24, "24 training and validation images in 2 of 3 folds")
    assert "on 12 training and validation images in 1 of 3 folds, by another seed" in summary["because"]


def test_of_one_held_out_image_no_error_is_said(bench: Bench, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes", {"train": 4, "val": 1, "test": 1})
    for file in [*(folder / "val" / "disc").iterdir(), *(folder / "val" / "wedge").iterdir()]:
        file.unlink()
    images = bench.run(INGEST, IngestConfig(path=str(folder)))
    features = bench.run(EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), images=images)
    probe = bench.run(PROBE, UNTRAINED, images=images, features=features)
    ref = bench.run(TUNE_FINETUNE, finetuning(1e-3, (1.1e-3,)), images=images, probe=probe)
    assert " points on 1 validation image, by another seed" in bench.summary(ref)["because"]
