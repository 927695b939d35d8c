"""Students of a run that workers train at once: the same bytes, and what a dead worker left is continued by another.

The worker of `taskdistill up` runs the parent, and one child at a time; another worker, started here, takes the others.
"""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psutil
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.deployed.children import MAX_ATTEMPTS, WHOLE, Asking
from taskdistill.flows.deployed.server import STEP_DEPLOYMENT, WorkerName
from taskdistill.flows.deployed.whole_steps import WholeSteps
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.process_pool import StepError
from taskdistill.flows.pipeline.running import run_steps
from taskdistill.storage.checkpoints import CHECKPOINT
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.conftest import Bench
from tests.flows.conftest import as_overrides, quietly
from tests.flows.deployed.test_fan_out import children, step_of
from tests.flows.local_server import Served, command_line, process, until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module")
def spread(experiment: Experiment) -> Experiment:
    """Two students, long enough to die in the middle of one."""
    training = experiment.training.model_copy(update={"epochs": 60})
    runtime = experiment.runtime.model_copy(update={"fan_out": 2, "checkpoint_seconds": 0.1})
    return experiment.model_copy(update={"seeds": (6, 7), "training": training, "runtime": runtime})


@pytest.fixture(scope="module")
def second_worker(served: Served, server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One more worker of this machine for the gpu queue, until a test kills it; the number of its process and group."""
    folder = tmp_path_factory.mktemp("worker")
    with process(command_line(folder, "worker", "--queue", "gpu"), server, folder / "worker.log") as started:
        yield started.pid


@pytest.fixture
def begun(served: Served, spread: Experiment, second_worker: int) -> Iterator["Begun"]:
    """A run whose two students have begun at the same time, each at a worker of its own, and wait for a lock that the
    test holds.
    """
    steps = [step for step in make_plan(spread, served.store).steps if step.stage.name == "distill"]
    with contextlib.ExitStack() as held:
        locks = {step.ref: held.enter_context(contextlib.ExitStack()) for step in steps}
        for ref, lock in locks.items():
            lock.enter_context(served.store.lock(ref))
        run_id = served.start("distill/stage-distill", {"overrides": as_overrides(spread)})
        until(lambda: all(running(served, ref) for ref in locks), seconds=300, log=served.log)
        of_worker = {worker_of(running(served, ref)): ref for ref in locks}
        assert len(of_worker) == 2
        other = next(ref for pid, ref in of_worker.items() if pid != second_worker)
        yield Begun(run_id, of_worker[second_worker], other, locks)


class Begun(NamedTuple):
    """A run, the student that the second worker is at, that of the other worker, and the locks they wait for."""

    run_id: UUID
    of_second: ArtifactRef
    of_other: ArtifactRef
    locks: Mapping[ArtifactRef, contextlib.ExitStack]


def worker_of(run: Any) -> int:
    """The process of the worker that a run is at."""
    name = WorkerName.parse(run.labels["prefect.worker.name"])
    assert name
    return name.pid


def running(served: Served, ref: ArtifactRef) -> Any:
    """The run that is at an artifact."""
    return next((child for child in children(served.client, ref) if child.state.name == "Running"), None)


# --- two at once -------------------------------------------------------------------------------------------------


def test_cancelling_a_run_cancels_what_two_workers_do_for_it_and_leaves_no_process(
    served: Served, begun: Begun
) -> None:
    from prefect.client.schemas.objects import State, StateType

    asked = [running(served, ref) for ref in begun.locks]
    runs = [served.client.read_flow_run(begun.run_id), *asked]
    processes = [psutil.Process(int(run.infrastructure_pid)) for run in runs]
    served.client.set_flow_run_state(begun.run_id, State(type=StateType.CANCELLING))
    assert [served.finish(run.id).state.name for run in runs] == ["Cancelled"] * 3
    until(lambda: not any(process.is_running() for process in processes), seconds=60, log=served.log)


def test_of_two_students_at_two_workers_the_one_whose_worker_died_is_continued_by_the_other_to_the_same_bytes(
    served: Served, spread: Experiment, begun: Begun, second_worker: int, finished_bench: Bench, tmp_path: Path
) -> None:
    begun.locks[begun.of_second].close()
    checkpoint = served.store.draft_path(begun.of_second) / CHECKPOINT
    until(checkpoint.exists, seconds=300, log=served.log)
    os.killpg(second_worker, signal.SIGKILL)  # and the run that it does
    assert begun.of_second not in served.store
    begun.locks[begun.of_other].close()
    run = served.finish(begun.run_id)
    assert run.state.name == "Completed", run.state.message

    dead, again = children(served.client, begun.of_second)[-2:]
    assert (dead.state.name, again.state.name) == ("Crashed", "Completed")
    (continued,) = [line for line in served.logs(again.id) if line.startswith("continuing at step")]
    assert int(continued.split()[3]) > 0

    shutil.copytree(finished_bench.store.root, tmp_path / "alone")
    alone = ArtifactStore(tmp_path / "alone")
    assert set(run_steps(spread, "distill", alone, quietly(spread, alone))) == set(begun.locks)
    made = {ref: served.store.manifest(ref) for ref in begun.locks}
    assert {ref: each.files for ref, each in made.items()} == {ref: alone.manifest(ref).files for ref in made}
    assert {each.provenance["run"]["id"] for each in made.values()} == {str(begun.run_id)}  # the run that people know


# --- what cannot be made -----------------------------------------------------------------------------------------


def test_a_step_that_fails_at_a_worker_is_named_with_its_error_and_not_tried_again(
    served: Served, spread: Experiment
) -> None:
    step = step_of(spread, served.store, "distill-seed6")
    step = replace(step, inputs={**step.inputs, "logits": ArtifactRef("logits", "0" * 64)})
    steps = WholeSteps(served.store, spread.runtime, {}, threading.Event())
    with pytest.raises(StepError) as error:
        steps.execute(step, no_progress)
    ref = step.stage.reference(step.config, step.inputs, {})
    (only,) = children(served.client, ref)
    assert str(error.value).startswith(f"distill-seed6 is not there: the run {only.name!r} of a worker is Failed: ")
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
