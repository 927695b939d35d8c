"""The small part of a run that measures how long all of it takes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.calibration import calibrate, small_part
from taskdistill.flows.pipeline.measured import measured_in
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.work import Work, works
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary, PaceSummary
from tests.conftest import Bench
from tests.flows.conftest import call, quietly

MANY = IngestSummary(splits={"train": 3200, "val": 400, "test": 60_000}, classes=10, counts={"one": {"train": 320}})


def part_of(experiment: Experiment, images: IngestSummary = MANY, **training: Any) -> Experiment:
    changed = experiment.training.model_copy(update=training)
    return small_part(experiment.model_copy(update={"training": changed}), images)


def measured(experiment: Experiment, store: ArtifactStore) -> dict[str, Work]:
    """What is known of each step of a run after a small part of it was run."""
    plan = make_plan(experiment, store)
    calibrate(plan, store, quietly(experiment, store))
    return works(plan.steps, store, experiment.runtime)


def unknown(known: dict[str, Work]) -> list[str]:
    return [name for name, work in known.items() if work.seconds is None]


# --- how small it is ------------------------------------------------------------------------------------------------


def test_a_part_has_images_for_some_batches_of_the_size_they_have(experiment: Experiment) -> None:
    part = part_of(experiment, batch_size=32, epochs=20)
    assert part.data.max_images == 96  # 3 x 32, of each split: the many test images are no part of it
    assert part.training.batch_size == 32
    assert part.seeds == experiment.seeds[:1]


def test_of_many_classes_each_has_two_images_and_of_masks_none_is_counted(experiment: Experiment) -> None:
    many = MANY.model_copy(update={"classes": 1000})
    assert part_of(experiment, many, batch_size=32).data.max_images == 2000
    for masks in ({"counts": {}}, {"pixels": {}}):  # before they are looked at, and after it
        assert part_of(experiment, many.model_copy(update=masks), batch_size=32).data.max_images == 96


def test_validation_has_the_share_of_a_training_that_it_has_of_the_whole_one(experiment: Experiment) -> None:
    few = MANY.model_copy(update={"splits": {"train": 320, "val": 192}})
    # 600 steps instead of the 200 of 20 epochs, so 20 validations of 192 images are 30 steps apart. Of 96 images they
    # must be 15 apart, which is each fifth epoch of 3 steps; two such stretches are the first with 16 steps or more.
    part = part_of(experiment, few, batch_size=32, epochs=20, min_steps=600)
    assert (part.training.validate_every, part.training.epochs, part.training.min_steps) == (5, 10, 0)


def test_where_validations_are_far_apart_a_training_is_no_longer_for_that(experiment: Experiment) -> None:
    assert part_of(experiment, batch_size=32, validate_every=50).training.epochs == 6  # 18 steps


def test_an_image_has_the_views_that_it_will_have_and_many_images_fewer(experiment: Experiment) -> None:
    views = experiment.views.model_copy(update={"num_views": 16, "max_total": 16_000})
    asked = experiment.model_copy(update={"views": views})
    assert part_of(asked, batch_size=32).views.num_views == 5  # 16,000 for 3,200 images
    classes = MANY.model_copy(update={"classes": 400})
    assert part_of(asked, classes, batch_size=32).views.num_views == 2  # 1,600 for 800 images


def test_as_large_a_part_of_the_decoded_images_and_of_the_cut_views_is_kept_as_of_all(experiment: Experiment) -> None:
    runtime = experiment.runtime.model_copy(update={"image_cache_mb": 1000, "kept_views_mb": 8000})
    few = experiment.views.model_copy(update={"num_views": 4, "max_total": 0})
    part = part_of(experiment.model_copy(update={"runtime": runtime, "views": few}), batch_size=32).runtime
    assert (part.image_cache_mb, part.kept_views_mb) == (30, 240)  # 96 of 3,200 images, in as many views
    many = experiment.views.model_copy(update={"num_views": 26, "max_total": 0})
    part = part_of(experiment.model_copy(update={"runtime": runtime, "views": many}), batch_size=32).runtime
    assert part.kept_views_mb == 80  # and in 8 + 1 of 26 + 1


# --- what it tells --------------------------------------------------------------------------------------------------


def test_after_it_each_step_is_known_and_nothing_else_of_it_is_left(
    with_blends: Experiment, store: ArtifactStore
) -> None:
    plan = make_plan(with_blends, store)
    assert len(unknown(works(plan.steps, store, with_blends.runtime))) == len(plan.steps)
    known = measured(with_blends, store)
    assert unknown(known) == []
    assert {work.is_by_other_images for work in known.values()} == {False}
    assert store.references() == []
    assert [path.suffix for path in (store.root / "calibration").iterdir()] == [".json"]
    assert {step.action for step in make_plan(with_blends, store).steps} == {"build"}


def test_the_trials_of_a_search_go_by_the_trainings_that_they_are(experiment: Experiment, store: ArtifactStore) -> None:
    training = experiment.training.model_copy(update={"min_steps": 600})
    tuning = experiment.tuning.model_copy(update={"search": "halving", "budget": 1.25})
    probe = experiment.student_probe.model_copy(update={"folds": 3})
    asked = experiment.model_copy(update={"training": training, "tuning": tuning, "student_probe": probe})
    assert unknown(measured(asked, store)) == []


def test_after_one_that_was_killed_another_begins_anew(
    experiment: Experiment, preset: str, store: ArtifactStore
) -> None:
    running = store.root / "calibration" / "running"
    command = [sys.executable, "-m", "taskdistill.flows.cli", "plan", preset, "--calibrate"]
    with subprocess.Popen(command, env=os.environ | {"TASKDISTILL_STORE": str(store.root)}) as process:
        while process.poll() is None and not [*running.glob("artifacts/features/*")]:
            time.sleep(0.01)
        process.kill()
    assert running.is_dir()
    assert unknown(measured(experiment, store)) == []
    assert not running.exists()


def test_with_other_threads_it_is_measured_beside_what_was_with_these(
    experiment: Experiment, store: ArtifactStore
) -> None:
    one, two = (experiment.runtime.model_copy(update={"workers": workers}) for workers in (1, 2))
    for runtime in (one, two, one):
        measured(experiment.model_copy(update={"runtime": runtime}), store)
    for runtime in (one, two):
        assert {each.pace.hands["workers"] for each in measured_in(store, runtime).values()} == {runtime.workers}


def test_of_another_device_or_computer_it_tells_nothing(
    experiment: Experiment, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, steps = measured(experiment, store), make_plan(experiment, store).steps
    gpu = experiment.runtime.model_copy(update={"device": "cuda"})
    assert len(unknown(works(steps, store, gpu))) == len(known)
    monkeypatch.setattr("platform.node", lambda: "another")
    assert len(unknown(works(steps, store, experiment.runtime))) == len(known)


def test_what_was_measured_for_these_images_tells_rather_than_artifacts_of_others(
    of_other_images: Experiment, bench: Bench
) -> None:
    measured(of_other_images, bench.store)
    [extracted] = [
        one.pace
        for one in measured_in(bench.store, of_other_images.runtime).values()
        if one.recipe["stage"] == "extract" and one.recipe["config"]["backbone"]["name"] == of_other_images.teacher.name
    ]
    assert extracted.pace
    views, seconds = extracted.pace["views"].units, extracted.pace["views"].seconds
    # 23 images in 2 views, and the 24 of validation and test in one.
    expected = extracted.seconds - seconds + seconds / views * (23 * 2 + 24)
    known = works(make_plan(of_other_images, bench.store).steps, bench.store, of_other_images.runtime)
    assert known["extract-teacher"].seconds == pytest.approx(expected)


def test_what_comes_before_the_first_image_is_not_counted_for_each_of_them(
    experiment: Experiment, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdistill.tasks.stages import ingest

    listing = ingest.open_dataset

    def slowly(config: Any) -> Any:
        time.sleep(1.5)
        return listing(config)

    monkeypatch.setattr(ingest, "open_dataset", slowly)
    many = experiment.model_copy(update={"data": experiment.data.model_copy(update={"max_images": 4})})
    make = quietly(many, store)
    made = PaceSummary.of(store.manifest(make(make_plan(many, store).steps[0])))
    assert made.pace
    images = made.pace["images"]
    assert made.seconds - images.seconds >= 1.4  # which is rounded
    known = works(make_plan(experiment, store).steps, store, experiment.runtime)["ingest"]
    assert known.seconds == pytest.approx(made.seconds - images.seconds + images.seconds / images.units * 48)


# --- the command ----------------------------------------------------------------------------------------------------


def test_plan_measures_where_it_is_asked_to_and_says_how_long_all_takes(preset: str, store: ArtifactStore) -> None:
    before, after = call(store, "plan", preset), call(store, "plan", preset, "--calibrate")
    assert before.stdout.splitlines()[-1] == "With --calibrate it is measured on a few images."
    assert "in all" in after.stdout.splitlines()[-1]
    assert after.stdout.splitlines()[-1].startswith("About")
    assert "warning" not in after.stderr


def test_plan_says_of_a_time_that_it_goes_by_other_images_and_how_to_measure_it_of_these(
    finished: ArtifactStore, of_other_images: Experiment, preset: str
) -> None:
    others = f"data.path={of_other_images.data.path}"
    *_, time, words, hint = call(finished, "plan", preset, "--set", others).stdout.splitlines()
    assert time.startswith("About")
    assert words.startswith("For ingest, extract-teacher, probe-teacher and")
    assert "other images" in words
    assert hint == "With --calibrate it is measured on a few images."
    stages = call(finished, "plan", preset, "--set", others, "--json").json["stages"]
    assert {stage["stage"] for stage in stages if not stage["is_by_other_images"]} == {"precompute"}  # from features
    study = call(finished, "study", preset, "--sweep", "distill.temperature=1,2", "--set", others, "--plan").stdout
    *_, words, hint = study.splitlines()
    assert "it goes by other images" in words
    assert f"plan {preset} --calibrate', with the same --set" in hint
    assert "other images" not in call(finished, "plan", preset, "--set", "views.seed=9").stdout


def test_where_all_is_there_nothing_is_measured(first_run: tuple[Path, Any], preset: str) -> None:
    store = ArtifactStore(first_run[0])
    assert "nothing is to be measured" in call(store, "plan", preset, "--calibrate").stderr
    assert not (store.root / "calibration").exists()


def test_images_that_are_given_cannot_be_measured(finished: ArtifactStore, preset: str) -> None:
    [images] = finished.references("image-set")
    done = call(finished, "plan", preset, "--calibrate", "--synthetic", str(images))
    assert done.code == 1
    assert "--synthetic" in done.stderr
