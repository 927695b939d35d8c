"""A machine that was brought up: what is on its server, and what becomes of runs when something of it dies."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from configs.experiment import Experiment
from flows.operation.processes import Process
from flows.operation.state import StateFolder
from flows.pipeline.planning import make_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tests.conftest import Bench
from tests.flows.conftest import as_overrides, quietly
from tests.flows.local_server import (
    START_SECONDS,
    Served,
    children_of,
    command,
    machine,
    password_of,
    refill,
    until,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module")
def lengthy(experiment: Experiment) -> Experiment:
    """41 chunks for the teacher, image by image, so that there is a middle to be stopped in."""
    views = experiment.views.model_copy(update={"num_views": 40})
    slow = experiment.runtime.model_copy(update={"inference_batch_size": 1, "workers": 1})
    return experiment.model_copy(update={"views": views, "runtime": slow})


def start_extraction(served: Served, lengthy: Experiment) -> tuple[UUID, ArtifactRef]:
    """Start a run that extracts features for a while; returns it and what it makes, when some is made."""
    plan = {step.name: step for step in make_plan(lengthy, served.store).steps}
    quietly(lengthy, served.store)(plan["extract-student"])
    ref = plan["extract-teacher"].ref
    run_id = served.start("extract/stage-extract", {"overrides": as_overrides(lengthy)})
    until(lambda: len(chunks(served.store, ref)) >= 2, seconds=START_SECONDS, log=served.log)
    return run_id, ref


def chunks(store: ArtifactStore, ref: ArtifactRef) -> dict[str, int]:
    """File of each chunk that is there -> when it was written: making it again would change that."""
    folder = store.path(ref) if ref in store else store.draft_path(ref)
    found = (folder / "outputs.zarr").glob("augmented/outputs/c/0/*/0/0")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def processes_of(run: Any) -> list[psutil.Process]:
    process = psutil.Process(int(run.infrastructure_pid))
    return [process, *process.children(recursive=True)]


# --- what is there -----------------------------------------------------------------------------------------------


def test_a_second_up_says_where_the_first_is_and_starts_nothing(server: dict[str, str], client: Any) -> None:
    before = children_of(server)
    done = command(["up"], server)
    assert done.code == 0, done.stderr
    assert f"The page:      {server['PREFECT_API_URL'].removesuffix('/api')}" in done.stderr
    assert children_of(server) == before


def test_nothing_is_wrong_with_what_was_brought_up(server: dict[str, str], client: Any) -> None:
    done = command(["doctor"], server)
    wrong = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert [line for line in wrong if "is nearly full" not in line] in ([], ["nothing is wrong"])


def test_queues_let_in_as_many_as_the_workers_do_and_the_automation_is_there_once(client: Any) -> None:
    from flows.deployed.server import worker_names
    from flows.operation.pool import AUTOMATION, create_pool, make_room

    create_pool(client)  # as a second `up` does
    make_room(client, next(iter(worker_names(client))))  # others that ran here have let in more
    limits = {queue: client.read_work_queue_by_name(queue, "taskdistill").concurrency_limit for queue in ("cpu", "gpu")}
    assert limits == {"cpu": 2, "gpu": 1}
    (automation,) = client.read_automations_by_name(AUTOMATION)
    assert automation.enabled
    assert automation.trigger.within.total_seconds() >= 2.5 * 30


def test_a_worker_that_died_here_makes_no_room_any_more_once_another_starts(client: Any) -> None:
    from flows.deployed.server import POOL, WorkerName, worker_names
    from flows.operation.pool import make_room

    (alive,) = worker_names(client)
    with subprocess.Popen(["sleep", "60"]) as process:
        dead = WorkerName(alive.host, *Process.of(process.pid), {"cpu": 3})
        process.kill()
    elsewhere = WorkerName("another-host", *dead[1:3], {"gpu": 5})
    for name in (dead, elsewhere):
        client.send_worker_heartbeat(POOL, str(name), heartbeat_interval_seconds=30)
    make_room(client, alive)
    assert set(map(str, worker_names(client))) == {str(alive), str(elsewhere)}
    limits = {queue: client.read_work_queue_by_name(queue, POOL).concurrency_limit for queue in ("cpu", "gpu")}
    assert limits == {"cpu": 2, "gpu": 6}

    client.request("DELETE", f"/work_pools/{POOL}/workers/{elsewhere}")
    make_room(client, alive)


def test_what_was_paused_and_scheduled_in_the_ui_outlives_another_deployment(
    server: dict[str, str], password: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    from flows.operation.deploying import deploy
    from flows.operation.state import StateFolder

    monkeypatch.setattr("flows.operation.deploying.WHICH", ("--name", "stage-select", "--name", "stage-embed"))
    for name, value in (server | {"PREFECT_API_AUTH_STRING": password}).items():
        monkeypatch.setenv(name, value)  # for Prefect's command
    paused = client.read_deployment_by_name("select/stage-select")
    scheduled = client.read_deployment_by_name("embed/stage-embed")
    client.pause_deployment(paused.id)
    (schedule,) = client.create_deployment_schedules(scheduled.id, [(CronSchedule(cron="0 3 1 1 *"), True)])
    folder = StateFolder(tmp_path)
    deploy(client, folder, None)
    after = client.read_deployment_by_name("select/stage-select")
    assert after.updated > paused.updated
    assert (after.id, after.paused) == (paused.id, True)
    after = client.read_deployment_by_name("embed/stage-embed")
    assert not after.paused
    assert [(each.id, each.schedule) for each in after.schedules] == [(schedule.id, schedule.schedule)]

    # Once applied, it is not applied again.
    written = folder.log("deploy").stat().st_mtime_ns
    deploy(client, folder, None)
    assert folder.log("deploy").stat().st_mtime_ns == written
    client.resume_deployment(paused.id)
    client.delete_deployment_schedule(scheduled.id, schedule.id)


# --- deaths ------------------------------------------------------------------------------------------------------


def test_a_killed_worker_takes_its_runs_along_is_started_again_and_retry_continues(
    server: dict[str, str], served: Served, lengthy: Experiment
) -> None:
    run_id, ref = start_extraction(served, lengthy)
    running, worker = processes_of(served.client.read_flow_run(run_id)), children_of(server)["worker"]
    os.kill(worker, signal.SIGKILL)
    until(lambda: not any(process.is_running() for process in running), seconds=30, log=served.log)
    made = chunks(served.store, ref)
    crashed = served.finish(run_id)
    assert crashed.state.name == "Crashed"
    assert children_of(server)["worker"] != worker

    assert served.retry(run_id).state.name == "Completed"
    after = chunks(served.store, ref)
    assert {name: after[name] for name in made} == made
    assert 0 < len(made) < len(after)


def test_a_server_that_died_is_started_again_and_the_run_goes_on_meanwhile(
    server: dict[str, str], served: Served, lengthy: Experiment
) -> None:
    longer = lengthy.model_copy(update={"views": lengthy.views.model_copy(update={"num_views": 44})})
    run_id, _ = start_extraction(served, longer)
    os.kill(children_of(server)["server"], signal.SIGKILL)

    def is_back() -> bool:
        import httpx

        try:
            return served.client.read_flow_run(run_id) is not None
        except httpx.HTTPError:
            return False

    until(is_back, seconds=START_SECONDS, log=served.log)
    run = served.finish(run_id)
    assert (run.state.name, run.run_count) == ("Completed", 1), run.state.message


def test_what_was_handed_back_is_continued_by_the_next_up_and_what_was_killed_with_it_is_over(
    lengthy: Experiment, finished_bench: Bench, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    store = ArtifactStore(tmp_path / "store")
    refill(store, finished_bench.store)

    @contextlib.contextmanager
    def up(*options: str) -> Iterator[tuple[dict[str, str], Served]]:
        with machine(tmp_path, *options) as environment:
            url, password = environment["PREFECT_API_URL"], password_of(environment)
            with (
                temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: password}),
                get_client(sync_client=True) as client,
            ):
                yield environment, Served(client, store, tmp_path / "state" / "worker.log")

    with up() as (environment, served):
        run_id, ref = start_extraction(served, lengthy)
        folder = StateFolder(Path(environment["TASKDISTILL_HOME"]))
        running = processes_of(served.client.read_flow_run(run_id))
        folder.running().up.send(signal.SIGTERM)
        until(lambda: not folder.is_held(), seconds=60, log=served.log)
        assert not any(process.is_running() for process in running)
    made = chunks(store, ref)
    assert 0 < len(made) < 40
    assert command(["down"], environment).stdout == "nothing is up\n"

    with up("--on-stop", "finish") as (environment, served):
        run = served.finish(run_id)  # nobody has asked for it
        assert (run.state.name, run.run_count) == ("Completed", 2)
        after = chunks(store, ref)
        assert {name: after[name] for name in made} == made

        longer = lengthy.model_copy(update={"views": lengthy.views.model_copy(update={"num_views": 48})})
        second, ref = start_extraction(served, longer)
        running = processes_of(served.client.read_flow_run(second))
        running += [psutil.Process(pid) for pid in children_of(environment).values()]
        running.insert(0, psutil.Process(folder.running().up.pid))
        for process in running:
            process.kill()

    with up("--on-stop", "finish") as (environment, served):
        crashed = served.finish(second)
        assert crashed.state.name == "Crashed"
        assert "is gone" in crashed.state.message
        made = chunks(store, ref)
        served.retry_without_waiting(second)
        until(lambda: len(chunks(store, ref)) > len(made), seconds=120, log=served.log)
        assert command(["down"], environment).stdout == "stopped\n"
    assert ref in store  # it was finished first
