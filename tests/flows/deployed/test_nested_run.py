"""A run in a process of its own ends with who started it, whatever became of that one."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

START = (
    "from uuid import uuid4; from taskdistill.flows.deployed.nested_run import run_in_a_process; "
    "run_in_a_process(uuid4(), bool)"
)
SECONDS = 90.0


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and answers nothing, so that a run waits for as long as it may."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api"


@pytest.mark.slow
def test_it_ends_with_who_started_it_and_was_killed(silent_server: str) -> None:
    environment = {**os.environ, "PREFECT_API_URL": silent_server, "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    with subprocess.Popen([sys.executable, "-c", START], env=environment, stderr=subprocess.DEVNULL) as starter:
        try:
            until(lambda: psutil.Process(starter.pid).children())
            (run,) = psutil.Process(starter.pid).children()
            until(lambda: run.num_threads() > 1)  # it watches
            starter.send_signal(signal.SIGKILL)
            until(lambda: is_over(run))
        finally:
            starter.kill()
