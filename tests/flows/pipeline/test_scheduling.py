"""Which step comes next, and what becomes of the others when one fails; the steps do nothing here."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from taskdistill.configs.errors import UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.scheduling import Elsewhere, StepsFailedError, needs_of, run_ready, ways_to_go, widest
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore


@pytest.fixture(scope="module")
def steps(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> list[PlannedStep]:
    """Those of the shapes: two lines, of teacher and student, that meet in the distillation."""
    return make_plan(experiment, ArtifactStore(tmp_path_factory.mktemp("planned") / "store")).steps


@pytest.fixture
def order() -> list[str]:
    """What `noting` was asked to do."""
    return []


@pytest.fixture
def noting(order: list[str]) -> Callable[[PlannedStep], ArtifactRef]:
    def do(step: PlannedStep) -> ArtifactRef:
        order.append(step.name)
        return step.ref

    return do


def failing(*names: str, order: list[str]) -> Callable[[PlannedStep], ArtifactRef]:
    def do(step: PlannedStep) -> ArtifactRef:
        order.append(step.name)
        if step.name in names:
            raise UserError(f"{step.name} does not\nlike its images")
        return step.ref

    return do


def test_one_at_a_time_the_order_is_that_of_the_plan(
    steps: list[PlannedStep], order: list[str], noting: Callable[[PlannedStep], ArtifactRef]
) -> None:
    done = run_ready(steps, noting, 1)
    assert order == [step.name for step in steps] == [one.step.name for one in done]


@pytest.mark.parametrize("slots", [2, 3, 20])
def test_with_more_slots_each_comes_after_what_it_needs_and_the_result_is_in_the_order_of_the_plan(
    steps: list[PlannedStep], order: list[str], noting: Callable[[PlannedStep], ArtifactRef], slots: int
) -> None:
    done = run_ready(steps, noting, slots)
    assert [one.step.name for one in done] == [step.name for step in steps]
    needs = needs_of(steps)
    assert all(needs[name] <= set(order[:number]) for number, name in enumerate(order))


class Crowd:
    """Steps that are at work, and the most there were of them at the same time."""

    def __init__(self) -> None:
        self._at_work, self.most, self._lock = 0, 0, threading.Lock()

    def do(self, step: PlannedStep) -> ArtifactRef:
        with self._lock:
            self._at_work += 1
            self.most = max(self.most, self._at_work)
        threading.Event().wait(0.02)
        with self._lock:
            self._at_work -= 1
        return step.ref


def test_never_more_than_the_slots_are_at_work(steps: list[PlannedStep]) -> None:
    crowd = Crowd()
    run_ready(steps, crowd.do, 2)
    assert crowd.most == 2


def test_what_others_do_takes_no_slot_here(steps: list[PlannedStep]) -> None:
    here, both = Crowd(), threading.Barrier(2)

    def do(step: PlannedStep) -> ArtifactRef:
        if step.stage.name not in ("finetune", "distill"):
            return here.do(step)
        both.wait(timeout=60)  # the one that is ready first waits here, while what the other needs is made
        return step.ref

    elsewhere = Elsewhere(2, lambda step: step.stage.name in ("finetune", "distill"))
    done = run_ready(steps, do, 1, elsewhere=elsewhere)
    assert [one.step for one in done] == steps
    assert here.most == 1


def test_others_do_no_more_at_once_than_there_are_of_them(steps: list[PlannedStep]) -> None:
    others = Crowd()

    def do(step: PlannedStep) -> ArtifactRef:
        return step.ref if step.stage.name == "ingest" else others.do(step)

    run_ready(steps, do, 1, elsewhere=Elsewhere(3, lambda step: step.stage.name != "ingest"))
    assert others.most == 3


def test_the_longest_way_is_begun_first(steps: list[PlannedStep]) -> None:
    ways = ways_to_go(steps, needs_of(steps))
    # evaluate reads 3 artifacts, distill 3, finetune 2, a probe 2, extract 1, precompute 2
    assert ways["evaluate-distilled-seed0"] == 3
    assert ways["distill-seed0"] == 3 + 3
    assert ways["finetune-seed0"] == 2 + 3
    assert ways["extract-student"] == 1 + 2 + 3 + 3
    assert ways["extract-teacher"] == 1 + 2 + 2 + 3 + 3


def test_of_two_steps_that_make_the_same_artifact_the_second_waits_for_the_first(steps: list[PlannedStep]) -> None:
    twin = replace(steps[1], name="twin")
    assert needs_of([*steps[:2], twin])["twin"] == {"ingest", "extract-teacher"}


def test_a_line_of_steps_is_one_wide_and_teacher_and_student_are_two(steps: list[PlannedStep]) -> None:
    named = {step.name: step for step in steps}
    assert widest([]) == 0
    assert widest([named[name] for name in ("ingest", "extract-teacher", "probe-teacher", "precompute")]) == 1
    assert widest(steps) > 1
    assert widest(steps, Elsewhere(2, lambda step: step.stage.name != "ingest")) == 1


@pytest.mark.parametrize("slots", [1, 2])
def test_a_step_that_fails_holds_back_only_what_needs_it_and_its_own_error_is_raised(
    steps: list[PlannedStep], order: list[str], slots: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match=r"^probe-student does not\nlike its images$"):
        run_ready(steps, failing("probe-student", order=order), slots)
    assert set(order) == {
        "ingest", "extract-teacher", "probe-teacher", "precompute", "evaluate-teacher", "extract-student",
        "probe-student",
    }  # fmt: skip
    if slots == 2:  # the teacher's are still to be done
        assert "probe-student failed; steps that do not need it go on. probe-student does not" in caplog.text


def test_several_failures_are_all_told_in_full(steps: list[PlannedStep], order: list[str]) -> None:
    with pytest.raises(StepsFailedError) as error:
        run_ready(steps, failing("probe-teacher", "finetune-seed0", order=order), 1)
    assert str(error.value) == (
        "2 steps failed\n"
        "probe-teacher: probe-teacher does not\nlike its images\n"
        "finetune-seed0: finetune-seed0 does not\nlike its images\n"
        "not begun, as they need one of these: precompute, evaluate-teacher, evaluate-student-probed, distill-seed0, "
        "evaluate-finetuned-seed0, evaluate-distilled-seed0"
    )


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interruption_ends_the_run_at_once(
    steps: list[PlannedStep], order: list[str], error: type[BaseException], slots: int
) -> None:
    def do(step: PlannedStep) -> ArtifactRef:
        order.append(step.name)
        if step.name == "extract-student":
            raise error
        return step.ref

    with pytest.raises(error):
        run_ready(steps, do, slots)
    assert "probe-student" not in order
    assert "finetune-seed0" not in order


def test_a_step_reads_what_was_really_made(steps: list[PlannedStep], caplog: pytest.LogCaptureFixture) -> None:
    """A file that changes after planning gives another artifact."""
    caplog.set_level(logging.NOTSET, logger="taskdistill")  # flows of other tests in this process have set another
    read: list[ArtifactRef] = []
    other = ArtifactRef("image-set", "0" * 64)

    def do(step: PlannedStep) -> ArtifactRef:
        read.extend(step.inputs.values())
        return other if step.name == "ingest" else step.ref

    run_ready(steps[:2], do, 1)
    assert read == [other]
    assert logging.getLogger("taskdistill").level == logging.NOTSET
