"""A Prefect server and a serving process for tests: started on this machine, asked as the UI asks, stopped for good."""

import os
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

from storage.store import ArtifactStore

QUIET = {
    "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore", "PREFECT_RUNNER_POLL_FREQUENCY": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


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
                started.wait(timeout=15)
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
    """What `taskdistill serve` offers, and the store it works on."""

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
        """Do what the UI's button Retry does."""
        from prefect.client.schemas.objects import State, StateType

        state = State(type=StateType.SCHEDULED, name="AwaitingRetry", message="Retry from the UI")
        self.client.set_flow_run_state(run_id, state)
        return self.finish(run_id)

    def tasks(self, run_id: UUID) -> dict[str, str]:
        """Name of each task run -> name of its last state."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        runs = self.client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        return {run.name: run.state.name for run in sorted(runs, key=lambda run: run.start_time)}

    def logs(self, run_id: UUID) -> list[str]:
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

        return [log.message for log in self.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))]


def command_line(folder: Path, *arguments: str) -> list[str]:
    """The command line, started in a folder that has nothing to do with the code."""
    return [
        sys.executable,
        "-c",
        f"import os; os.chdir({str(folder)!r}); from flows.cli import main; main()",
        *arguments,
    ]


@contextmanager
def serving(source: ArtifactStore, folder: Path, server: Mapping[str, str], client: Any) -> Iterator[Served]:
    """Run `taskdistill serve` on a copy of a store."""
    from prefect.exceptions import ObjectNotFound

    shutil.copytree(source.root, folder / "store")
    store = ArtifactStore(folder / "store")

    def offered() -> bool:
        try:
            client.read_deployment_by_name("evaluate-teacher/stage-evaluate-teacher")
        except ObjectNotFound:
            return False
        return True

    environment = {**server, "TASKDISTILL_STORE": str(store.root)}
    with process(command_line(folder, "serve"), environment, folder / "serve.log"):
        until(offered, seconds=300, log=folder / "serve.log")
        yield Served(client, store, folder / "serve.log")
