"""The small part of a run that measures how long all of it takes."""

from typing import Any

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.calibration import calibrate, small_part
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.work import measured_in, works
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from tests.flows.conftest import call, quietly, when_made

MANY = IngestSummary(splits={"train": 3200, "val": 400, "test": 400}, classes=10, counts={"one": {"train": 320}})


def part_of(experiment: Experiment, images: IngestSummary = MANY, **training: Any) -> Experiment:
    changed = experiment.training.model_copy(update=training)
    return small_part(experiment.model_copy(update={"training": changed}), images)


def test_a_part_has_images_for_some_batches_of_the_size_they_have(experiment: Experiment) -> None:
    part = part_of(experiment, batch_size=32, epochs=20)
    assert part.data.max_images == 120  # 3 x 32 of 3200 to train on, and as large a share of the others
    assert (part.training.batch_size, part.training.epochs) == (32, 6)  # 3 steps an epoch, and 16 at least
    assert (part.training.validate_every, part.seeds) == (1, experiment.seeds[:1])


def test_of_many_classes_each_has_an_image_and_another(experiment: Experiment) -> None:
    many = MANY.model_copy(update={"classes": 1000})
    assert part_of(experiment, many, batch_size=32).data.max_images == 2500
    of_masks = many.model_copy(update={"counts": {}})
    assert part_of(experiment, of_masks, batch_size=32).data.max_images == 120


def test_validation_has_the_share_of_a_training_that_it_has_of_the_whole_one(experiment: Experiment) -> None:
    few = MANY.model_copy(update={"splits": {"train": 320, "val": 40, "test": 40}})
    # 600 steps instead of the 200 of 20 epochs, so 20 validations are 30 steps apart, which is each third epoch of 10.
    part = part_of(experiment, few, batch_size=32, epochs=20, min_steps=600)
    assert part.training.validate_every == 3
    assert part.training.epochs == 6  # two such stretches: one is 9 steps
    assert part.training.min_steps == 0


def test_after_a_small_part_was_run_each_step_is_known_and_none_of_it_is_in_the_store(
    with_blends: Experiment, store: ArtifactStore
) -> None:
    plan = make_plan(with_blends, store)
    assert {work.seconds for work in works(plan.steps, store, with_blends.runtime).values()} == {None}
    calibrate(plan, store, quietly(with_blends, store))
    known = works(plan.steps, store, with_blends.runtime)
    assert [name for name, work in known.items() if work.seconds is None] == []
    assert store.references() == []
    assert {step.action for step in make_plan(with_blends, store).steps} == {"build"}


def test_the_trials_of_a_search_go_by_the_trainings_that_they_are(experiment: Experiment, store: ArtifactStore) -> None:
    training = experiment.training.model_copy(update={"min_steps": 600})
    tuning = experiment.tuning.model_copy(update={"search": "halving", "budget": 1.25})
    probe = experiment.student_probe.model_copy(update={"folds": 3})
    asked = experiment.model_copy(update={"training": training, "tuning": tuning, "student_probe": probe})
    plan = make_plan(asked, store)
    calibrate(plan, store, quietly(asked, store))
    known = works(plan.steps, store, asked.runtime)
    assert [name for name, work in known.items() if work.seconds is None] == []


def test_what_was_measured_is_not_measured_again(experiment: Experiment, store: ArtifactStore) -> None:
    plan = make_plan(experiment, store)
    calibrate(plan, store, quietly(experiment, store))
    first = when_made(measured_in(store))
    calibrate(plan, store, quietly(experiment, store))
    assert when_made(measured_in(store)) == first


def test_plan_measures_where_it_is_asked_to_and_says_how_long_all_takes(preset: str, store: ArtifactStore) -> None:
    before, after = call(store, "plan", preset), call(store, "plan", preset, "--calibrate")
    assert "How long it takes will be said here" in before.stdout
    assert "in all" in after.stdout.splitlines()[-1]
    assert "without" not in after.stdout.splitlines()[-1]
    assert "warning" not in after.stderr
    assert store.references() == []
