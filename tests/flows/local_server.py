"""A machine for tests: server and workers started by `taskdistill up`, asked as the UI asks, stopped for good."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from uuid import UUID

import pytest

from taskdistill.storage.store import ArtifactStore

QUIET = {
    "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore", "PREFECT_WORKER_QUERY_SECONDS": "1", "OMP_NUM_THREADS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # a schedule is looked at once a minute otherwise
}  # fmt: skip


START_SECONDS = 600.0
"""For a server, some thirty deployments and a worker, on a machine that is busy with other things."""

DRAIN_SECONDS = 60.0
"""For what has not been sent yet; a server that a test has stopped would be tried for ever."""


PORTS = range(20_000, 30_000)
"""Below those that Linux gives to whoever asks for any, or connects to something: while a server that had one of those
is started again, a connection elsewhere may take it, and the server never comes back.
"""


def free_port() -> str:
    while True:
        port = random.SystemRandom().choice(PORTS)  # tests in other processes choose too
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)


@contextmanager
def prefect_server(home: Path, *command: str) -> Iterator[dict[str, str]]:
    """Run a Prefect server, started by a command of Python, on a free port; yields the environment that leads there."""
    port = free_port()
    environment = {**QUIET, "PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    with process([sys.executable, *command, "--port", port], environment, home / "server.log"):
        until(lambda: answers(environment["PREFECT_API_URL"]), seconds=300, log=home / "server.log")
        yield environment


@contextmanager
def process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own; in the end nothing of the group is left."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield started
    finally:
        for kill in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(started.pid, kill)
                started.wait(timeout=60)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def until(happened: Callable[[], Any], *, seconds: float, log: Path) -> Any:
    """Wait for a true answer and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := happened()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain:\n{log.read_text()[-5000:]}")
        time.sleep(0.3)
    return answer


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


class Served(NamedTuple):
    """What `taskdistill up` offers, and the store it works on."""

    client: Any
    store: ArtifactStore
    log: Path

    def start(self, deployment: str, parameters: Mapping[str, Any]) -> UUID:
        found = self.client.read_deployment_by_name(deployment)
        run_id: UUID = self.client.create_flow_run_from_deployment(found.id, parameters=dict(parameters)).id
        return run_id

    def finish(self, run_id: UUID) -> Any:
        """Wait for the end of a run; returns it."""

        def ended() -> Any:
            run = self.client.read_flow_run(run_id)
            return run if run.state.is_final() else None

        return until(ended, seconds=300, log=self.log)

    def retry(self, run_id: UUID) -> Any:
        """Do what the UI's button Retry does, and wait for the end of the run; returns it."""
        self.retry_without_waiting(run_id)
        return self.finish(run_id)

    def retry_without_waiting(self, run_id: UUID) -> None:
        from prefect.client.schemas.objects import State, StateType

        state = State(type=StateType.SCHEDULED, name="AwaitingRetry", message="Retry from the UI")
        self.client.set_flow_run_state(run_id, state)

    def tasks(self, run_id: UUID) -> dict[str, str]:
        """Name of each task run -> name of its last state."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        runs = self.client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        # One whose start the server has missed, as its database was away, has no time of it.
        runs = sorted(runs, key=lambda run: run.start_time or run.created)
        return {run.name: run.state.name if run.state else "not said yet" for run in runs}

    def logs(self, run_id: UUID) -> list[str]:
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

        return [log.message for log in self.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))]


def command_line(folder: Path, *arguments: str) -> list[str]:
    """The command line, started in a folder that has nothing to do with the code."""
    return [
        sys.executable,
        "-c",
        f"import os; os.chdir({str(folder)!r}); from taskdistill.flows.cli import main; main()",
        *arguments,
    ]


class Called(NamedTuple):
    """What one call of the command line did."""

    code: int
    stdout: str
    stderr: str


def command(arguments: list[str], environment: Mapping[str, str], typed: str = "") -> Called:
    """Call the command line in a process of its own that knows of Prefect only what it is given, with what is typed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    home = environment.get("PREFECT_HOME", "")
    elsewhere = {"TASKDISTILL_HOME": f"{home}/state", "TASKDISTILL_STORE": f"{home}/store"}
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", *arguments],
        env=inherited | QUIET | elsewhere | dict(environment), capture_output=True, text=True, timeout=300, input=typed,
    )  # fmt: skip
    return Called(done.returncode, done.stdout, done.stderr)


@contextmanager
def machine(
    folder: Path, *options: str, variables: Mapping[str, str] | None = None, port: str = ""
) -> Iterator[dict[str, str]]:
    """Run `taskdistill up` on a free port, with state and store in a folder; yields the environment to find it."""
    port, log = port or free_port(), folder / "up.log"
    environment = {
        **QUIET,
        "PREFECT_HOME": str(folder / "state" / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "TASKDISTILL_HOME": str(folder / "state"),
        "TASKDISTILL_STORE": str(folder / "store"),
        **(variables or {}),
    }
    # It starts the server of its own, whatever address is known.
    with process(command_line(folder, "up", "--port", port, *options), environment, log) as started:
        until(lambda: "The page:" in log.read_text() or started.poll() is not None, seconds=START_SECONDS, log=log)
        assert started.poll() is None, log.read_text()
        yield environment


@contextmanager
def asked(environment: Mapping[str, str]) -> Iterator[Any]:
    """A client of a machine's server; what flows of this process say goes there as well, until the end and no longer.

    Prefect sends it to the server that the first of them in a process was told of, whatever the settings say later.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    chosen = {
        PREFECT_API_URL: environment["PREFECT_API_URL"],
        PREFECT_HOME: environment["PREFECT_HOME"],
        PREFECT_API_AUTH_STRING: password_of(environment),
    }
    EventsWorker.drain_all(timeout=DRAIN_SECONDS, at_exit=False)
    with temporary_settings(chosen), get_client(sync_client=True) as client:
        try:
            yield client
        finally:
            EventsWorker.drain_all(timeout=DRAIN_SECONDS, at_exit=False)


def password_of(environment: Mapping[str, str]) -> str:
    """The text of the file that `taskdistill up` has made."""
    return (Path(environment["PREFECT_HOME"]) / "taskdistill-password").read_text().strip()


def children_of(environment: Mapping[str, str]) -> dict[str, int]:
    """Name of each process that `up` keeps running -> its number."""
    state = json.loads((Path(environment["TASKDISTILL_HOME"]) / "state.json").read_text())
    return {name: pid for name, (pid, _) in state["children"].items()}


def refill(store: ArtifactStore, source: ArtifactStore) -> None:
    """Let a store that workers use hold what another one holds, and nothing else."""
    for room in ("artifacts", "drafts", "labels"):
        shutil.rmtree(store.root / room, ignore_errors=True)
    shutil.copytree(source.root, store.root, dirs_exist_ok=True)
