"""A machine that was brought up: what is on its server. What happens where something dies: tests.fault_matrix."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from taskdistill.flows.operation.processes import Process
from taskdistill.flows.operation.state import StateFolder
from tests.flows.local_server import (
    children_of,
    command,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


# --- what is there -----------------------------------------------------------------------------------------------


def test_a_second_up_says_where_the_first_is_and_starts_nothing(server: dict[str, str], client: Any) -> None:
    before = children_of(server)
    done = command(["up"], server)
    assert done.code == 0, done.stderr
    assert "runs already: what is asked for here, such as --port, changes nothing" in done.stderr
    assert f"The page:      {server['PREFECT_API_URL'].removesuffix('/api')}" in done.stderr
    assert children_of(server) == before


def test_it_names_the_folders_of_its_state_and_commands_that_find_them(server: dict[str, str], client: Any) -> None:
    home = server["TASKDISTILL_HOME"]
    said = command(["up"], server).stderr.splitlines()
    assert f"Its state:     {home}" in said
    assert f"Is it well?    taskdistill doctor --folder {home}" in said
    elsewhere = command(["up"], {**server, "PREFECT_HOME": "/tmp/of-prefect"}).stderr.splitlines()
    assert f"Its state:     {home} and /tmp/of-prefect" in elsewhere


def test_nothing_is_wrong_with_what_was_brought_up(server: dict[str, str], client: Any) -> None:
    done = command(["doctor"], server)
    wrong = [line for line in done.stdout.splitlines() if line and not line.startswith((" ", "hint: "))]
    wrong = [line for line in wrong if not re.search("is nearly full|has little room", line)]
    assert wrong in ([], ["nothing is wrong"])


def test_queues_let_in_as_many_as_the_workers_do_and_the_automation_is_there_once(client: Any) -> None:
    from taskdistill.flows.deployed.server import worker_names
    from taskdistill.flows.operation.pool import AUTOMATION, create_pool, make_room

    create_pool(client)  # as a second `up` does
    make_room(client, next(iter(worker_names(client))))  # others that ran here have let in more
    limits = {queue: client.read_work_queue_by_name(queue, "taskdistill").concurrency_limit for queue in ("cpu", "gpu")}
    assert limits == {"cpu": 2, "gpu": 1}
    (automation,) = client.read_automations_by_name(AUTOMATION)
    assert automation.enabled
    assert automation.trigger.within.total_seconds() >= 2.5 * 30


def test_a_worker_that_died_here_makes_no_room_any_more_once_another_starts(client: Any) -> None:
    from taskdistill.flows.deployed.server import POOL, WorkerName, worker_names
    from taskdistill.flows.operation.pool import make_room

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


def test_what_is_not_ours_or_has_moved_on_is_not_taken_for_dead(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import Task, flow
    from prefect.states import Completed, Crashed, Pending, Running

    from taskdistill.flows.operation import zombies
    from taskdistill.flows.operation.processes import this_host

    @flow
    def of_others() -> None:
        pass

    found = client.read_deployment_by_name("ingest/stage-ingest")
    ours = client.create_flow_run_from_deployment(found.id, state=Pending(), name="ours")
    theirs = client.create_flow_run(of_others, state=Pending())

    # --- silent since before the server was there
    monkeypatch.setattr(zombies, "SILENT_SECONDS", 0.1)
    time.sleep(0.2)
    assert ours.id not in [each.run.id for each in zombies.zombies(client, this_host(), 0.0)]
    assert ours.id in [each.run.id for each in zombies.zombies(client, this_host(), 0.2)]
    assert theirs.id not in [each.run.id for each in zombies.zombies(client, this_host(), 0.2)]

    # --- steps of others
    steps = {}
    for run in (ours, theirs):
        client.set_flow_run_state(run.id, Running(), force=True)
        steps[run.id] = client.create_task_run(Task(fn=lambda: None), run.id, "0", state=Running()).id
        client.set_flow_run_state(run.id, Crashed())
    monkeypatch.setattr(zombies, "TOLD_SECONDS", -60.0)
    zombies.end_steps(client)
    assert client.read_task_run(steps[ours.id]).state.is_crashed()
    assert client.read_task_run(steps[theirs.id]).state.is_running()
    client.delete_flow_run(theirs.id)

    # --- one that completed after it was looked at, or at the same moment
    client.set_flow_run_state(ours.id, Running(), force=True)
    before = client.read_flow_run(ours.id)
    client.set_flow_run_state(ours.id, Completed(), force=True)
    for seen in (before, client.read_flow_run(ours.id)):
        monkeypatch.setattr(zombies, "zombies", lambda *_, seen=seen: [zombies.Zombie(seen, "it is gone")])
        zombies.end_zombies(client, this_host(), 0.2)
        assert client.read_flow_run(ours.id).state.is_completed()


def test_what_was_paused_and_scheduled_in_the_ui_outlives_another_deployment(
    server: dict[str, str], password: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    from taskdistill.flows.deployed.server import POOL
    from taskdistill.flows.operation.deploying import deploy, wanted_deployments

    monkeypatch.setattr(
        "taskdistill.flows.operation.deploying.WHICH", ("--name", "stage-select", "--name", "stage-embed")
    )
    for name, value in (server | {"PREFECT_API_AUTH_STRING": password}).items():
        monkeypatch.setenv(name, value)  # for Prefect's command
    paused = client.read_deployment_by_name("select/stage-select")
    scheduled = client.read_deployment_by_name("embed/stage-embed")
    client.pause_deployment(paused.id)
    (schedule,) = client.create_deployment_schedules(scheduled.id, [(CronSchedule(cron="0 3 1 1 *"), True)])
    entrypoint = "taskdistill.flows.deployed.single_stage.dream"
    gone = client.create_deployment(paused.flow_id, "stage-dream", entrypoint=entrypoint, work_pool_name=POOL)
    deploy(client, StateFolder(tmp_path), None)
    after = client.read_deployment_by_name("select/stage-select")
    assert after.updated > paused.updated
    assert (after.id, after.paused) == (paused.id, True)
    after = client.read_deployment_by_name("embed/stage-embed")
    assert not after.paused
    assert [(each.id, each.schedule) for each in after.schedules] == [(schedule.id, schedule.schedule)]

    # By this it is known that they need not be applied again.
    assert after.version == wanted_deployments({}, None)["deployments"][0]["version"]
    assert gone not in {each.id for each in client.read_deployments()}
    client.resume_deployment(paused.id)
    client.delete_deployment_schedule(scheduled.id, schedule.id)
