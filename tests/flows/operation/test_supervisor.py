"""Processes that are kept running, and end with who started them."""

import contextlib
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from taskdistill.flows.operation.processes import Process
from taskdistill.flows.operation.state import Running, StateFolder

RUNS = ["http.server", "0", "--bind", "127.0.0.1"]
FAILS = ["json.tool", "/there/is/no/such/file"]


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.make()
    return folder


@pytest.fixture
def started(folder: StateFolder) -> Iterator[Callable[[list[str]], tuple[object, list[dict[str, Process]]]]]:
    from taskdistill.flows.operation.supervisor import Program, Supervisor

    told: list[dict[str, Process]] = []
    supervisor = Supervisor(folder, told.append)

    def start(arguments: list[str]) -> tuple[Supervisor, list[dict[str, Process]]]:
        supervisor.start(Program("worker", arguments, {}))
        return supervisor, told

    yield start
    supervisor.kill()


def until(happened: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_log_and_the_files_of_a_program_that_is_to_keep_them_are_for_their_owner_alone(folder: StateFolder):
    from taskdistill.flows.operation.supervisor import Program, Supervisor

    copied, before = folder.path / "copy", os.umask(0o022)
    arguments = ["zipfile", "-c", str(copied), __file__]
    try:
        supervisor = Supervisor(folder, lambda _: None)
        for name, umask in (("server", 0o077), ("worker", -1)):
            supervisor.start(Program(name, arguments, {}, umask=umask))
            until(lambda: supervisor.are_gone(["server", "worker"]))
            assert stat.S_IMODE(copied.stat().st_mode) == 0o666 & ~(0o022 if umask == -1 else umask)
            assert stat.S_IMODE(folder.log(name).stat().st_mode) == 0o600
            copied.unlink()
    finally:
        os.umask(before)


def test_a_program_that_was_killed_is_started_again_and_that_is_said(started, folder, caplog):
    supervisor, told = started(RUNS)
    first = told[-1]["worker"]
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not supervisor.is_alive("worker"))
    with caplog.at_level(logging.WARNING):
        supervisor.watch(["worker"])
    assert "the worker ended by SIGKILL after" in caplog.text
    assert f"it is started again (1 of 5 times in 10 minutes). Its log: {folder.log('worker')}" in caplog.text
    second = told[-1]["worker"]
    assert second != first
    assert second.is_alive()


def test_a_program_that_fails_again_and_again_is_given_up_with_the_end_of_its_log(started, monkeypatch):
    from taskdistill.flows.deployed.server import ServerError

    monkeypatch.setattr("taskdistill.flows.operation.supervisor.MAX_RESTARTS", 1)
    supervisor, _ = started(FAILS)
    until(lambda: not supervisor.is_alive("worker"))
    supervisor.watch(["worker"])
    until(lambda: not supervisor.is_alive("worker"))
    with pytest.raises(ServerError, match="the worker ended 2 times within 10 minutes") as error:
        supervisor.watch(["worker"])
    assert "No such file or directory: '/there/is/no/such/file'" in str(error.value)


def test_one_that_the_others_can_do_without_is_given_up_alone(started, folder, monkeypatch, caplog):
    from taskdistill.flows.operation.supervisor import Program

    monkeypatch.setattr("taskdistill.flows.operation.supervisor.MAX_RESTARTS", 0)
    supervisor, told = started(RUNS)
    supervisor.start(Program("worker-gpu1", FAILS, {}, is_needed=False))
    until(lambda: not supervisor.is_alive("worker-gpu1"))
    supervisor.watch(supervisor.names())
    assert "the worker-gpu1 ended 1 times within 10 minutes" in caplog.text
    assert "The others go on without it" in caplog.text
    assert supervisor.names() == list(told[-1]) == ["worker"]
    assert supervisor.is_alive("worker")
    supervisor.watch(supervisor.names())
    assert supervisor.are_gone(["worker-gpu1"])


def test_while_all_is_started_the_one_that_ends_is_named_whoever_is_waited_for(started):
    from taskdistill.flows.deployed.server import ServerError
    from taskdistill.flows.operation.supervisor import Program
    from taskdistill.flows.operation.up import _Signals, _wait

    supervisor, _ = started(RUNS)
    supervisor.start(Program("worker-gpu0", FAILS, {}))
    with pytest.raises(ServerError, match="the worker-gpu0 ended while it was started") as error:
        _wait(lambda: False, "worker", supervisor, _Signals())
    assert "No such file or directory: '/there/is/no/such/file'" in str(error.value)


@pytest.mark.parametrize(("arguments", "what"), [(RUNS, "does not do what it is asked"), (FAILS, "ended while")])
def test_a_server_that_fails_while_the_rest_is_started_is_told_of_in_words(started, folder, arguments, what):
    from taskdistill.flows.deployed.server import ServerError
    from taskdistill.flows.operation.supervisor import Program
    from taskdistill.flows.operation.up import SERVER, _server_is_there

    supervisor, _ = started(RUNS)
    supervisor.start(Program(SERVER, arguments, {}))
    until(lambda: supervisor.is_alive(SERVER) == (arguments is RUNS))
    with pytest.raises(ServerError, match=f"the server {what}.*refused"), _server_is_there(supervisor):
        raise httpx.ConnectError("refused")


def test_who_has_only_just_been_started_is_stopped_as_soon_as_it_says_who_it_is(folder):
    from taskdistill.flows.commands.operation import _stop_up

    with subprocess.Popen(["true"]) as ended:
        before = Process.of(ended.pid)
    folder.write(Running(before, 4200, "/store", "hand-back", "", {}, is_ready=True))  # of one that was killed
    code = (
        "import sys, time; from taskdistill.flows.operation.state import *; folder = StateFolder(sys.argv[1])\n"
        "with folder.held():\n"
        "    print('held', flush=True); time.sleep(1)\n"
        "    folder.write(Running(Process.own(), 4200, '/store', 'hand-back', '', {}, is_ready=False))\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout.readline() == "held\n"
            _stop_up(folder, hand_back=False)
            assert up.wait(timeout=60) == -signal.SIGTERM
        finally:
            up.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent's death on Linux only")
def test_a_program_ends_with_who_started_it():
    command = [sys.executable, "-m", "taskdistill.flows.operation.child", *RUNS]
    code = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        until(lambda: "http.server" in child.cmdline() and child.net_connections())
        parent.kill()
    until(lambda: not psutil.pid_exists(child.pid) or _is_zombie(child))


def _is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_a_process_that_has_ended_is_not_taken_for_another_of_its_number():
    own = Process.own()
    assert own.is_alive()
    assert not own._replace(started=own.started + 1).is_alive()


def test_only_one_holds_a_state_folder_and_others_see_that_it_is_held(folder):
    assert not folder.is_held()
    with folder.held() as ours, folder.held() as theirs:
        assert (ours, theirs) == (True, False)
        assert folder.is_held()
    assert not folder.is_held()


def test_what_was_started_is_read_as_it_was_written_and_of_another_version_as_nothing(folder):
    running = Running(Process.own(), 4200, "/store", "finish", "", {"server": Process(1, 2)}, is_ready=True)
    folder.write(running)
    assert folder.running() == running
    (folder.path / "state.json").write_text('{"up": [1, 2], "port": 4200}')
    assert folder.running() is None


@pytest.mark.parametrize("host", ["alpha", "node-1.example-domain.org"])
def test_a_worker_is_known_by_its_name(host):
    from taskdistill.flows.deployed.server import WorkerName

    name = WorkerName(host, 4711, 123456, {"cpu": 2, "gpu": 1})
    assert str(name) == f"{host}-4711-123456-cpux2-gpux1"
    assert WorkerName.parse(str(name)) == name
    assert WorkerName.parse("ProcessWorker 1e3a") is None


def test_each_gpu_has_a_worker_of_its_own_and_without_one_the_first_makes_spans_too():
    from taskdistill.flows.operation.up import Wanted

    def workers(gpus: list[str]) -> list[tuple[str, str, dict[str, str]]]:
        programs = Wanted(port=4200, gpus=gpus, runs=3, on_stop="finish", presets=Path("/presets")).programs
        for program in programs:
            assert program.arguments[-4:] == ["--runs", "3", "--on-stop", "finish"]
        return [(each.name, each.arguments[3], dict(each.variables)) for each in programs]

    assert workers([]) == [("worker", "both", {})]
    assert workers(["0", "GPU-7"]) == [
        ("worker", "cpu", {}),
        ("worker-gpu0", "gpu", {"CUDA_VISIBLE_DEVICES": "0"}),
        ("worker-gpuGPU-7", "gpu", {"CUDA_VISIBLE_DEVICES": "GPU-7"}),
    ]


def test_every_program_learns_where_state_and_presets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from taskdistill.flows.operation.prefect_environment import inherited, tell_where_things_are

    for name in ("TASKDISTILL_HOME", "TASKDISTILL_PRESETS"):
        monkeypatch.setenv(name, "")  # restored afterwards
    tell_where_things_are(tmp_path / "state", tmp_path)
    found = inherited({"OTHER": "1"})
    names = ("TASKDISTILL_HOME", "TASKDISTILL_PRESETS", "OTHER")
    assert [found[name] for name in names] == [str(tmp_path / "state"), str(tmp_path), "1"]


@pytest.mark.parametrize(("named", "found"), [("", []), ("-1", []), ("2,GPU-7", ["2", "GPU-7"])])
def test_gpus_are_those_that_this_process_may_use(named: str, found: list[str], monkeypatch: pytest.MonkeyPatch):
    from taskdistill.flows.operation.gpus import gpus_of_machine

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus_of_machine() == found


def test_so_many_gpus_are_used_as_are_asked_for_and_more_than_there_are_are_refused():
    from taskdistill.configs.errors import SettingsError
    from taskdistill.flows.operation.gpus import chosen_gpus

    two = ["2", "GPU-7"]
    assert [chosen_gpus(two, number) for number in (None, 2, 1, 0)] == [two, two, ["2"], []]
    assert chosen_gpus([], 2) == ["0", "1"]  # nothing says how many there are
    with pytest.raises(SettingsError, match=r"--gpus 8: there are 2 on this machine that may be used \(2, GPU-7\)"):
        chosen_gpus(two, 8)
