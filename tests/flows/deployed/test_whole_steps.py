"""Students of a run that workers train at once: the same bytes, and what a dead worker left is continued by another.

The worker of `taskdistill up` runs the parent, and one child at a time; another worker, started here, takes the others.
"""

import contextlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from configs.experiment import Experiment
from flows.deployed.children import MAX_ATTEMPTS, WHOLE, Asking
from flows.deployed.server import STEP_DEPLOYMENT, WorkerName
from flows.deployed.whole_steps import WholeSteps
from flows.pipeline.planning import make_plan
from flows.pipeline.process_pool import StepError
from flows.pipeline.running import experiment_settings_of, run_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.stage import no_progress
from tasks.training.checkpoint import CHECKPOINT
from tests.conftest import Bench
from tests.flows.conftest import quietly
from tests.flows.deployed.test_fan_out import children, step_of
from tests.flows.local_server import Served, command_line, process, until

ALL_SETTINGS = "distillation-all-settings/distillation-all-settings"

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module")
def spread(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"runtime": experiment.runtime.model_copy(update={"fan_out": 2})})


# --- two at once -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def another_worker(server: dict[str, str], folder: Path) -> Iterator[int]:
    """One more worker of this machine for the gpu queue; yields the number of its process, and of its group."""
    with process(command_line(folder, "worker", "--queue", "gpu"), server, folder / "worker.log") as started:
        yield started.pid


@contextlib.contextmanager
def both_begun(
    served: Served, server: dict[str, str], folder: Path, experiment: Experiment
) -> Iterator[tuple[UUID, int, dict[str, contextlib.ExitStack]]]:
    """A run whose two students have both begun, each at a worker of its own, and wait for locks that are held here.

    Yields the run, the process of the worker that is not of `taskdistill up`, and the locks: first that of the student
    which that worker has.
    """
    steps = [step for step in make_plan(experiment, served.store).steps if step.stage.name in ("finetune", "distill")]
    with another_worker(server, folder) as pid, contextlib.ExitStack() as stack:
        locks = {step.ref: stack.enter_context(contextlib.ExitStack()) for step in steps}
        for ref, lock in locks.items():
            lock.enter_context(served.store.lock(ref))
        run_id = served.start(ALL_SETTINGS, {"experiment": experiment_settings_of(experiment)})
        asked = [until(lambda ref=ref: running(served, ref), seconds=300, log=served.log) for ref in locks]
        assert {child.state.name for child in (running(served, ref) for ref in locks)} == {"Running"}
        of_worker = {worker_of(child): ref for child, ref in zip(asked, locks, strict=True)}
        assert len(of_worker) == 2
        first = of_worker[pid]
        yield run_id, pid, {first: locks.pop(first), **locks}


def worker_of(run: Any) -> int:
    """The process of the worker that a run is at."""
    name = WorkerName.parse(run.labels["prefect.worker.name"])
    assert name
    return name.pid


def running(served: Served, ref: ArtifactRef) -> Any:
    """The run that is at an artifact."""
    return next((child for child in children(served.client, ref) if child.state.name == "Running"), None)


def made_here(experiment: Experiment, bench: Bench, folder: Path) -> ArtifactStore:
    """A store in which the experiment was run in this process."""
    shutil.copytree(bench.store.root, folder / "alone")
    store = ArtifactStore(folder / "alone")
    run_plan(experiment, store, quietly(experiment, store))
    return store


def files_of(store: ArtifactStore, experiment: Experiment) -> dict[str, Any]:
    """The digests of all files of a run, by step."""
    return {step.name: store.manifest(step.ref).files for step in make_plan(experiment, store).steps}


def test_two_students_of_a_run_are_made_at_once_by_two_workers_to_the_bytes_of_one_process(
    served: Served, server: dict[str, str], spread: Experiment, finished_bench: Bench, tmp_path: Path
) -> None:
    experiment = spread.model_copy(update={"seeds": (6,)})
    with both_begun(served, server, tmp_path, experiment) as (run_id, _, locks):
        for lock in locks.values():
            lock.close()
        run = served.finish(run_id)
    assert run.state.name == "Completed", run.state.message
    assert files_of(served.store, experiment) == files_of(made_here(experiment, finished_bench, tmp_path), experiment)
    makers = {served.store.manifest(ref).provenance["run"]["id"] for ref in locks}
    assert makers == {str(run_id)}  # it is the run that people know


# --- deaths ------------------------------------------------------------------------------------------------------


def test_a_student_whose_worker_died_is_continued_by_the_other_at_its_checkpoint(
    served: Served, server: dict[str, str], spread: Experiment, finished_bench: Bench, tmp_path: Path
) -> None:
    training = spread.training.model_copy(update={"epochs": 80})
    runtime = spread.runtime.model_copy(update={"checkpoint_seconds": 0.1})
    experiment = spread.model_copy(update={"seeds": (7,), "training": training, "runtime": runtime})
    with both_begun(served, server, tmp_path, experiment) as (run_id, pid, locks):
        killed, other = locks
        locks[killed].close()
        checkpoint = served.store.draft_path(killed) / CHECKPOINT
        until(checkpoint.exists, seconds=300, log=served.log)
        os.killpg(pid, signal.SIGKILL)
        assert killed not in served.store
        locks[other].close()
        run = served.finish(run_id)
    assert run.state.name == "Completed", run.state.message
    assert files_of(served.store, experiment) == files_of(made_here(experiment, finished_bench, tmp_path), experiment)
    dead, again = children(served.client, killed)
    assert (dead.state.name, again.state.name) == ("Crashed", "Completed")
    (said,) = [
        re.match(r"continuing at step (\d+) of 240", line) for line in served.logs(again.id) if "continu" in line
    ]
    assert said
    assert int(said[1]) > 0


def test_cancelling_a_run_cancels_what_workers_do_for_it_and_leaves_no_process(
    served: Served, server: dict[str, str], spread: Experiment, tmp_path: Path
) -> None:
    from prefect.client.schemas.objects import State, StateType

    experiment = spread.model_copy(update={"seeds": (8,)})
    with both_begun(served, server, tmp_path, experiment) as (run_id, _, locks):
        asked = [running(served, ref) for ref in locks]
        processes = [
            psutil.Process(int(run.infrastructure_pid)) for run in (served.client.read_flow_run(run_id), *asked)
        ]
        served.client.set_flow_run_state(run_id, State(type=StateType.CANCELLING))
        assert [served.finish(each).state.name for each in (run_id, *(run.id for run in asked))] == ["Cancelled"] * 3
        until(lambda: not any(process.is_running() for process in processes), seconds=60, log=served.log)


def test_a_step_that_fails_at_a_worker_is_named_with_its_error_and_not_tried_again(
    served: Served, spread: Experiment
) -> None:
    step = step_of(spread.model_copy(update={"seeds": (9,)}), served.store, "distill-seed9")
    step = replace(step, inputs={**step.inputs, "logits": ArtifactRef("logits", "0" * 64)})
    steps = WholeSteps(served.store, spread.runtime, {}, threading.Event())
    with pytest.raises(StepError) as error:
        steps.execute(step, no_progress)
    ref = step.stage.reference(step.config, step.inputs, {})
    (only,) = children(served.client, ref)
    assert str(error.value).startswith(f"distill-seed9 is not there: the run {only.name!r} of a worker is Failed: ")
    assert "logits@00000000" in str(error.value)


def test_what_kills_every_worker_is_not_asked_for_for_ever(served: Served) -> None:
    from prefect.states import Crashed

    ref, asked = ArtifactRef("model", "1" * 64), list[Any]()
    deployment = served.client.read_deployment_by_name(STEP_DEPLOYMENT)
    sent = {"step_name": "a", "stage": "distill", "config": {}, "inputs": {}, "wanted": str(ref), "runtime": {}}

    def ask(units: Sequence[int]) -> list[Any]:
        asked.append(
            served.client.create_flow_run_from_deployment(
                deployment.id, parameters=sent | {"noted": {}}, state=Crashed(), tags=[str(ref)]
            )
        )
        return asked[-1:]

    asking = Asking(served.store, ref, STEP_DEPLOYMENT, threading.Event())
    (last,) = asking.have_made(WHOLE, ask, lambda: list(WHOLE))
    assert len(asked) == MAX_ATTEMPTS
    assert last.run.id == asked[-1].id
