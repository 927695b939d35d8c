"""How many steps work side by side: by the settings, the machine, and what the run can use."""

import logging
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline import slots
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.slots import GIB, Slots, available_bytes, gpus_of_each, probable_slots, slots_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks import visible_gpus


@pytest.fixture
def steps(experiment: Experiment, store: ArtifactStore) -> list[PlannedStep]:
    return make_plan(experiment, store).steps


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 cores, 64 GiB."""
    monkeypatch.setattr(slots, "num_cores", lambda: 8)
    monkeypatch.setattr(slots, "available_bytes", lambda: 64 * GIB)


def number(steps: list[PlannedStep], **runtime: int) -> int:
    return slots_of(RuntimeConfig(device="cpu", **runtime), steps).number


def test_left_to_itself_it_takes_the_cores_divided_by_threads(steps: list[PlannedStep]) -> None:
    assert number(steps, threads=4) == 2
    assert number(steps, threads=8) == number(steps, threads=16) == 1


def test_left_to_itself_it_never_takes_more_than_are_side_by_side_or_fit_in_the_memory(
    steps: list[PlannedStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert number(steps) == 4  # evaluations of the teacher, the probe and one student, and a distillation
    monkeypatch.setattr(slots, "available_bytes", lambda: GIB + GIB // 2)
    assert number(steps) == 1


def test_what_the_settings_say_is_done_and_what_fits_is_said(
    steps: list[PlannedStep], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert number(steps, slots=3) == 3
    assert caplog.text == ""
    monkeypatch.setattr(slots, "available_bytes", lambda: 2 * GIB)
    assert number(steps, slots=3) == 3
    assert (
        "runtime.slots is 3, but the free memory is enough for about 2: a step is guessed to take 1 GiB" in caplog.text
    )


@pytest.mark.parametrize(("gpus", "said"), [(1, "there is 1 GPU:"), (2, "there are 2 GPUs:"), (4, "")])
def test_more_slots_than_gpus_share_them_and_that_is_said(
    steps: list[PlannedStep], gpus: int, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slots, "_num_gpus", lambda runtime: gpus)
    assert slots_of(RuntimeConfig(slots=3), steps) == (3, gpus)
    assert said in caplog.text
    assert ("runtime.slots is 3, but" in caplog.text) == bool(said)


def test_left_to_itself_there_is_one_for_each_gpu(steps: list[PlannedStep], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_num_gpus", lambda runtime: 2)
    assert slots_of(RuntimeConfig(threads=8), steps) == (2, 2)


def test_each_slot_sees_one_gpu_in_turn_and_all_of_them_where_it_takes_one_that_is_free() -> None:
    assert gpus_of_each(Slots(3, 2), (), 1) == ["0", "1", "0"]
    assert gpus_of_each(Slots(2, 4), ("cuda", "mps"), 1) == ["", ""]
    assert gpus_of_each(Slots(2, 0), (), 1) == ["", ""]


def test_a_slot_has_a_gpu_for_each_rank(steps: list[PlannedStep], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_num_gpus", lambda runtime: 5)
    assert slots_of(RuntimeConfig(ranks=2), steps) == (2, 2)
    assert gpus_of_each(Slots(3, 2), (), 2) == ["0,1", "2,3", "0,1"]


def test_without_a_gpu_a_slot_has_a_core_for_each_rank(steps: list[PlannedStep]) -> None:
    assert number(steps, ranks=4) == number(steps, ranks=2, threads=4) == 2


def test_a_line_of_steps_and_a_run_that_is_done_need_one(steps: list[PlannedStep]) -> None:
    assert number(steps[:4], slots=4) == 1
    assert number([], slots=4) == 1


def test_the_memory_of_this_machine_is_known_on_linux() -> None:
    if Path("/proc/meminfo").exists():
        assert 2**20 < (available_bytes() or 0) < 2**50


# By hand for a CPU of 8 cores and 64 GiB: the plan is four steps wide, and has more than 8 that are missing.
@pytest.mark.parametrize(
    ("runtime", "expected"), [({}, 4), ({"threads": 4}, 2), ({"threads": 16}, 1), ({"slots": 3}, 3), ({"slots": 8}, 8)]
)
def test_a_plan_says_without_torch_as_many_as_a_run_will_take(
    steps: list[PlannedStep], runtime: dict[str, int], expected: int
) -> None:
    asked = RuntimeConfig.model_validate({"device": "cpu", **runtime})
    assert (probable_slots(asked, steps), slots_of(asked, steps).number) == (expected, expected)


def test_steps_in_a_line_are_said_to_run_one_by_one(steps: list[PlannedStep]) -> None:
    assert probable_slots(RuntimeConfig(device="cpu", slots=4), steps[:2]) == 1


def test_in_a_plan_the_memory_bounds_them_too(steps: list[PlannedStep], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "available_bytes", lambda: 2 * GIB)
    assert probable_slots(RuntimeConfig(device="cpu"), steps) == 2


@pytest.mark.parametrize(("named", "expected"), [("0", 1), ("0,1,2", 3), ("", 4), (None, 4)])
def test_a_plan_counts_the_gpus_that_the_run_may_use_and_not_all_of_the_machine(
    steps: list[PlannedStep], named: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 GPUs; without one it is the 8 cores that count, and the plan is four steps wide."""
    for number in range(8):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(visible_gpus, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert probable_slots(RuntimeConfig(device="auto"), steps) == expected
