"""Whether distilling can be expected to help: how teacher and student's probe compare on validation, and when it is
said.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan
from taskdistill.flows.pipeline.scheduling import run_ready
from taskdistill.flows.pipeline.teacher_gap import says_teacher_gap, teacher_gap
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.flows.conftest import quietly
from tests.flows.scored import commit, evaluated

TEACHER, PROBED = "teacher probed", "student probed"
HALF = [1.0] * 5 + [0.0] * 5


def pair(store: ArtifactStore, teacher: Sequence[float], student: Sequence[float], **named: Any) -> list[ModelResult]:
    """Evaluations of a teacher and of its student's probe with these scores on the validation images."""
    logits = commit(store, "logits", {})
    return [
        evaluated(store, TEACHER, None, HALF, val=teacher, inputs={"logits": logits}),
        evaluated(store, PROBED, None, HALF, val=student, inputs={"teacher": logits}, **named),
    ]


def said(results: Sequence[ModelResult], store: ArtifactStore) -> str:
    gap = teacher_gap(results, store)
    return "" if gap is None else str(gap)


def test_a_better_teacher_is_said_by_how_much_and_how_often_the_two_agree(store: ArtifactStore) -> None:
    # One of ten images more for five of them: 5 differences of 1, mean 0.5, variance 2.5 / 9, error 0.167.
    results = pair(store, [1.0] * 10, HALF, more={"teacher_agreement": 0.5})
    assert said(results, store) == (
        "On validation (10 images, top-1) the teacher has 100.0 %, the student's probe 50.0 %: difference +50.0 "
        "(SE 16.7), agreement 50.0 %."
    )


def test_a_teacher_weaker_than_its_student_cannot_be_expected_to_help(store: ArtifactStore) -> None:
    results = pair(store, HALF, [1.0] * 10)
    assert said(results, store) == (
        "On validation (10 images, top-1) the teacher has 50.0 %, the student's probe 100.0 %: difference -50.0 "
        "(SE 16.7). The teacher is not better by more than the standard error, so that distilling from it cannot be "
        "expected to help. Try another teacher, a larger input size (teacher.input_px), or more labelled images."
    )


def test_a_teacher_better_by_its_standard_error_or_less_is_not_better(store: ArtifactStore) -> None:
    # Two of ten images better and none worse: mean 0.2, variance 1.6 / 9, error 0.133.
    two = [1.0] * 7 + [0.0] * 3
    assert "cannot be expected" not in said(pair(store, two, HALF), store)
    # One better: mean 0.1, variance 0.9 / 9, error 0.1.
    one = [1.0] * 6 + [0.0] * 4
    assert "cannot be expected to help" in said(pair(store, one, HALF), store)
    # Two better, one worse: mean 0.1, variance 2.9 / 9, error 0.180.
    mixed = [0.0] + [1.0] * 6 + [0.0] * 3
    assert "cannot be expected to help" in said(pair(store, mixed, HALF), store)


def test_two_that_never_differ_are_not_better_than_one_another(store: ArtifactStore) -> None:
    found = said(pair(store, HALF, HALF, more={"teacher_agreement": 1.0}), store)
    assert "difference +0.0 (SE 0.0), agreement 100.0 %. The teacher is not better" in found


def test_one_validation_image_can_show_nothing(store: ArtifactStore) -> None:
    assert said(pair(store, [1.0], [0.0]), store) == (
        "On validation (1 image, top-1) the teacher has 100.0 %, the student's probe 0.0 %: difference +100.0. One "
        "image cannot show whether the teacher is the better one: add labelled images to validation, 6 at least."
    )


@pytest.mark.parametrize(("teacher", "student"), [([1.0] * 3, [0.0] * 3), ([0.0] * 3, [1.0] * 3)])
def test_three_validation_images_show_neither_that_the_teacher_is_better_nor_that_it_is_not(
    store: ArtifactStore, teacher: list[float], student: list[float]
) -> None:
    found = said(pair(store, teacher, student), store)
    assert found.endswith(
        "(SE 0.0). 3 images cannot show whether the teacher is the better one: add labelled images to validation, 6 at "
        "least."
    )


def test_other_problems_are_told_in_their_own_unit_and_without_agreement(store: ArtifactStore) -> None:
    logits = commit(store, "logits", {})
    results = [
        evaluated(store, TEACHER, None, [0.0], val=[-1.0, -2.0] * 3, inputs={"logits": logits}, score_name="minus_mae"),
        evaluated(store, PROBED, None, [0.0], val=[-2.0, -4.0] * 3, inputs={"teacher": logits}, score_name="minus_mae"),
    ]
    # Differences 1 and 2, three times: mean 1.5, variance 1.5 / 5, error sqrt(0.3 / 6).
    assert said(results, store) == (
        "On validation (6 images, minus_mae) the teacher has -1.500, the student's probe -3.000: difference +1.500 "
        "(SE 0.224)."
    )


def test_of_several_teachers_the_one_is_compared_whose_logits_teach(store: ArtifactStore) -> None:
    other = evaluated(store, "teacher alone", None, HALF, val=HALF, inputs={"logits": commit(store, "logits", {})})
    gap = teacher_gap([other, *pair(store, [1.0] * 10, HALF)], store)
    assert gap
    assert gap.comparison.model == TEACHER


def test_nothing_is_said_of_a_teacher_alone_or_where_scores_of_images_are_not_known(store: ArtifactStore) -> None:
    teacher, start = pair(store, HALF, HALF, column="confidence")
    assert said([teacher], store) == said([start], store) == said([teacher, start], store) == said([], store) == ""


# --- when it is said ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("student", "level"), [(HALF, logging.INFO), ([1.0] * 10, logging.WARNING)])
def test_it_is_said_once_and_before_a_student_is_trained(
    experiment: Experiment, store: ArtifactStore, student: list[float], level: int, caplog: pytest.LogCaptureFixture
) -> None:
    teacher, start = pair(store, [1.0] * 10, student)
    plan = make_plan(experiment, store)
    made = {"evaluate-teacher": teacher.evaluation, "evaluate-student-probed": start.evaluation}
    before: list[list[str]] = []

    def do(step: PlannedStep) -> ArtifactRef:
        if step.name.startswith(("finetune", "distill")):
            before.append(caplog.messages.copy())
        return made.get(step.name, step.ref)

    with caplog.at_level(logging.INFO, logger="taskdistill.flows.pipeline.teacher_gap"):
        run_ready(plan.steps, do, 1, says_teacher_gap(plan.results, store))
    assert caplog.messages == [said([teacher, start], store)]
    assert before == [caplog.messages] * 2
    assert [record.levelno for record in caplog.records] == [level]


def test_with_more_slots_the_two_evaluations_are_begun_before_whatever_else_is_ready(
    experiment: Experiment, store: ArtifactStore
) -> None:
    teacher, start = pair(store, HALF, HALF)
    plan = make_plan(experiment, store)
    made = {"evaluate-teacher": teacher.evaluation, "evaluate-student-probed": start.evaluation}
    # Alone in a plan all four are ready at once, and the students have the longer ways.
    steps = [step for step in plan.steps if step.name in (*made, "finetune-seed0", "distill-seed0")]
    order: list[str] = []
    both = threading.Barrier(2)

    def do(step: PlannedStep) -> ArtifactRef:
        order.append(step.name)
        if step.name in made:
            both.wait(timeout=60)
        return made.get(step.name, step.ref)

    run_ready(steps, do, 2, says_teacher_gap(plan.results, store))
    assert set(order[:2]) == made.keys()


def test_a_run_says_it_where_there_is_something_to_do_and_a_finished_one_does_not(
    experiment: Experiment, finished: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    def stops_at_the_first_student(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        if step.name == "finetune-seed1":
            raise InterruptedError
        return execute(step, no_progress)

    with caplog.at_level(logging.INFO, logger="taskdistill.flows.pipeline.teacher_gap"):
        run_plan(experiment, finished, quietly(experiment, finished))
        assert caplog.messages == []
        another_seed = experiment.model_copy(update={"seeds": (1,)})
        with pytest.raises(InterruptedError):
            run_plan(another_seed, finished, stops_at_the_first_student)
    (message,) = [
        record.message for record in caplog.records if record.name == "taskdistill.flows.pipeline.teacher_gap"
    ]
    assert message.startswith("On validation (12 images, top-1) the teacher has ")
