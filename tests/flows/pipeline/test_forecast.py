"""How long a run is said to take: as its steps follow each other, and with what nobody knows named."""

from dataclasses import replace

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.forecast import by_other_images, other_images_in_words, seconds_in_all, time_in_all
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.work import Work
from taskdistill.storage.store import ArtifactStore


@pytest.fixture
def steps(experiment: Experiment, store: ArtifactStore) -> list[PlannedStep]:
    return make_plan(experiment, store).steps


def each_a_minute(steps: list[PlannedStep]) -> dict[str, Work]:
    return {step.name: Work(seconds=60.0) for step in steps}


def test_one_at_a_time_steps_take_what_they_take_together(steps: list[PlannedStep]) -> None:
    assert seconds_in_all(steps, each_a_minute(steps), slots=1) == 60 * len(steps)


def test_with_slots_enough_a_run_takes_as_long_as_its_longest_way(steps: list[PlannedStep]) -> None:
    # ingest, extract-teacher, probe-teacher, precompute, distill, evaluate
    assert seconds_in_all(steps, each_a_minute(steps), slots=len(steps)) == 6 * 60


def test_with_two_slots_no_more_than_two_steps_overlap(steps: list[PlannedStep]) -> None:
    # ingest | both extracts | both probes | precompute of either | both students | two evaluations | the other two
    assert seconds_in_all(steps, each_a_minute(steps), slots=2) == 7 * 60


def test_a_long_step_that_nothing_waits_for_goes_on_beside_the_others(steps: list[PlannedStep]) -> None:
    work = each_a_minute(steps) | {"evaluate-teacher": Work(seconds=3600.0)}
    # Behind ingest, extract-teacher, probe-teacher and precompute.
    assert seconds_in_all(steps, work, slots=len(steps)) == 4 * 60 + 3600


def test_it_is_said_in_one_sentence(steps: list[PlannedStep]) -> None:
    assert time_in_all(steps, each_a_minute(steps), slots=1) == f"About {len(steps)} min in all."
    said = time_in_all(steps, each_a_minute(steps), slots=len(steps))
    assert said == f"About 6 min in all, {len(steps)} steps at a time."


def test_steps_that_nobody_knows_are_named_and_not_counted(steps: list[PlannedStep]) -> None:
    work = each_a_minute(steps) | {"distill-seed0": Work(seconds=None)}
    said = time_in_all(steps, work, slots=1)
    assert said == (
        f"At least {len(steps) - 1} min in all; of 1 of the {len(steps)} steps it is not known, as nothing like "
        "distill-seed0 was made on this computer yet."
    )


def test_where_nobody_knows_anything_no_number_is_said(steps: list[PlannedStep]) -> None:
    said = time_in_all(steps, {step.name: Work(seconds=None) for step in steps}, slots=2)
    assert not any(letter.isdigit() for letter in said)


def test_steps_whose_time_goes_by_other_images_are_named_but_not_what_is_there(steps: list[PlannedStep]) -> None:
    work = {step.name: Work(seconds=60.0, is_by_other_images=True) for step in steps}
    first, second, third, *others = names = by_other_images(steps, work)
    assert names == [step.name for step in steps]
    assert other_images_in_words(names) == (
        f"For {first}, {second}, {third} and {len(others)} others it goes by other images: of larger ones it takes "
        "longer, of smaller ones less."
    )
    assert by_other_images([replace(step, action="have") for step in steps], work) == []
