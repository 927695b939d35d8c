"""Steps in processes of their own: two at once, what becomes of the others when one dies, and nothing left behind."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from taskdistill.flows.pipeline import process_pool
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.process_pool import (
    StepError,
    StepFaultError,
    StepKilledError,
    StepProcesses,
    how_it_ended,
)
from taskdistill.flows.pipeline.scheduling import StepsFailedError, run_ready
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.conftest import RUNTIME
from tests.flows.pipeline.meeting import FAIL, KILL_ITSELF, MEET, step
from tests.signals import heed_signals


@pytest.fixture
def processes(_note_others: None, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[StepProcesses]:
    """Two slots, whose processes know the stages of tests.flows.pipeline.meeting."""
    monkeypatch.setattr(process_pool, "ENTRY", "tests.flows.pipeline.meeting")
    with StepProcesses(["", ""], store, RUNTIME, lambda step: {"name": "meeting"}) as processes:
        yield processes
    assert started() == []


OTHERS: list[psutil.Process] = []
"""Processes of other tests, such as a server, that were there before."""


@pytest.fixture(autouse=True)
def _note_others() -> None:
    OTHERS[:] = psutil.Process().children()


def started() -> list[psutil.Process]:
    """Processes that this test has started and that are there."""
    return [child for child in psutil.Process().children() if child not in OTHERS]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def do_all(processes: StepProcesses, *steps: PlannedStep) -> list[ArtifactRef]:
    done = run_ready(steps, lambda step: processes.execute(step, no_progress), 2)
    return [one.ref for one in done]


# --- at the same time --------------------------------------------------------------------------------------------


def test_two_steps_that_can_only_be_done_together_are_done(
    processes: StepProcesses, store: ArtifactStore, place: Path
) -> None:
    steps = [step(MEET, place, "one", "other"), step(MEET, place, "other", "one")]
    refs = do_all(processes, *steps)
    assert refs == [one.ref for one in steps]
    assert (store.path(refs[0]) / "met.txt").read_text() == "one met other"
    assert len({store.manifest(ref).summary["process"] for ref in refs} | {os.getpid()}) == 3


def test_a_process_does_one_step_after_another_and_one_slot_is_enough_for_a_line(
    processes: StepProcesses, store: ArtifactStore, place: Path
) -> None:
    first, second = step(MEET, place, "first", "first"), step(MEET, place, "second", "second", after="first")
    refs = do_all(processes, first, second)
    assert len({store.manifest(ref).summary["process"] for ref in refs}) == 1
    assert len(started()) == 1


def test_what_is_in_the_store_starts_no_process(processes: StepProcesses, store: ArtifactStore, place: Path) -> None:
    here = step(MEET, place, "here", "here")
    with store.lock(here.ref):
        recipe = here.stage.recipe(here.config, {}, {})
        (store.draft(here.ref, recipe) / "met.txt").write_text("before")
        store.commit(here.ref, recipe=recipe, inputs={}, summary={})
    assert do_all(processes, here) == [here.ref]
    assert started() == []


def test_what_a_step_reports_and_logs_comes_through(
    processes: StepProcesses, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.INFO, "taskdistill.tasks.stage"):
        processes.execute(step(MEET, place, "alone", "alone"), lambda *report: reports.append(report))
    assert reports == [("meetings", 1, 1)]
    assert any(record.getMessage().startswith("alone: meet: made meeting@") for record in caplog.records)


# --- failures ----------------------------------------------------------------------------------------------------


def test_what_a_step_still_says_when_its_report_has_failed_answers_no_other_step(
    processes: StepProcesses, place: Path
) -> None:
    def fails(unit: str, done: int, total: int) -> None:
        raise RuntimeError("nobody listens")

    first, second = step(MEET, place, "first", "first"), step(MEET, place, "second", "second")
    with pytest.raises(RuntimeError, match="nobody listens"):
        processes.execute(first, fails)
    assert processes.execute(second, no_progress) == second.ref


def test_a_killed_step_is_named_with_its_signal_and_the_others_finish(
    processes: StepProcesses, store: ArtifactStore, place: Path
) -> None:
    """Also one that begins when its slot has no process any more."""
    killed = step(KILL_ITSELF, place, "killed")
    others = [step(MEET, place, "one", "other"), step(MEET, place, "other", "one")]
    with pytest.raises(StepKilledError, match=r"^killed was killed \(SIGKILL\): most often .* Lower runtime.slots \(2"):
        do_all(processes, killed, *others)
    assert all(other.ref in store for other in others)


def test_what_needs_a_failed_step_is_not_begun_and_all_failures_are_told_in_full(
    processes: StepProcesses, store: ArtifactStore, place: Path
) -> None:
    broken, killed, fine = step(FAIL, place, "broken"), step(KILL_ITSELF, place, "killed"), step(MEET, place, "a", "a")
    needs = step(MEET, place, "needs", "needs", after="never")
    needs = needs.__class__(**{**needs.__dict__, "inputs": {"after": killed.ref}})
    with pytest.raises(StepsFailedError) as error:
        do_all(processes, broken, killed, needs, fine)
    said = str(error.value)
    assert said.startswith("2 steps failed\n")
    assert "broken met a fault of the program:\nTraceback" in said
    assert "ZeroDivisionError: broken" in said
    assert "killed was killed (SIGKILL)" in said
    assert said.endswith("\nnot begun, as they need one of these: needs")
    assert fine.ref in store


def test_a_mistake_of_the_user_is_told_as_it_is_where_it_is_made(
    processes: StepProcesses, store: ArtifactStore, place: Path
) -> None:
    lost = step(MEET, place, "lost", "lost", after="nowhere")
    with pytest.raises(StepError, match=rf"^meeting@\w{{12}} is not in the store {store.root}"):
        do_all(processes, lost)


def test_a_fault_of_the_program_keeps_its_traceback(processes: StepProcesses, place: Path) -> None:
    with pytest.raises(StepFaultError, match=r'(?s)meeting.py", line \d+, in fail.*ZeroDivisionError: broken'):
        do_all(processes, step(FAIL, place, "broken"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "was killed (SIGKILL): most often by the kernel, for want of memory. Lower runtime.slots (3"),
        (-signal.SIGSEGV, "was killed (SIGSEGV): a fault in a library"),
        (-signal.SIGTERM, "was killed (SIGTERM): it was asked to end"),
        (7, "ended with exit code 7 before it was done"),
    ],
)
def test_an_end_is_named_and_what_to_do(code: int, words: str) -> None:
    said = how_it_ended(code, "runtime.slots (3 now)")
    assert said.startswith(words)
    assert said.endswith("run the same command again; it continues where it was")


def test_a_step_that_ends_with_its_run_is_not_said_to_lack_memory(
    store: ArtifactStore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "ENTRY", "tests.flows.pipeline.meeting")
    with ThreadPoolExecutor(1) as threads:
        with StepProcesses([""], store, RUNTIME, lambda step: {"name": "meeting"}) as processes:
            waiting = threads.submit(processes.execute, step(MEET, place, "one", "nobody"), no_progress)
            while not (place / "one").exists():
                time.sleep(0.05)
        with pytest.raises(StepKilledError, match=r"^the run is over$"):
            waiting.result()


# --- nothing is left ---------------------------------------------------------------------------------------------

WAITS = """
import sys
from pathlib import Path
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline import process_pool
from taskdistill.flows.pipeline.scheduling import run_ready
from taskdistill.flows.ending.interruption import stopped_by_signals
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.flows.pipeline.meeting import MEET, step
process_pool.ENTRY = "tests.flows.pipeline.meeting"
place = Path(sys.argv[1])
steps = [step(MEET, place, "one", "nobody"), step(MEET, place, "two", "nobody")]
with (
    stopped_by_signals(),
    process_pool.StepProcesses(
        ["", ""], ArtifactStore(place.parent / "store"), RuntimeConfig(), lambda step: {}
    ) as processes,
):
    run_ready(steps, lambda step: processes.execute(step, no_progress), 2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_stopped_or_killed_leaves_no_process(place: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITS, str(place)]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heed_signals)
    try:
        children = _when_both_wait(run, place)
        run.send_signal(number)
        began = time.monotonic()
        assert run.wait(timeout=30) != 0
        _, left = psutil.wait_procs(children, timeout=10)
        assert left == []
        assert time.monotonic() - began < 10
    finally:
        run.kill()


def _when_both_wait(run: subprocess.Popen[bytes], place: Path) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while not all((place / name).exists() for name in ("one", "two")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return psutil.Process(run.pid).children()
