"""SIGTERM ends `serve` and `worker` within seconds, however they were started, and the runs with them.

A run spread over workers is in progress in both; each is stopped in another way.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.experiment import Experiment
from flows.pipeline.planning import make_plan
from storage.store import ArtifactStore
from tests.conftest import Bench
from tests.flows.conftest import as_overrides, quietly
from tests.flows.local_server import Served, until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

SECONDS = 12.0
"""Longer than it takes, and about what Docker waits before it kills."""
IN_THE_BACKGROUND = "trap '' INT HUP; exec \"$@\""
"""How a script's shell, or nohup, starts a program: these signals are ignored."""


@contextlib.contextmanager
def started(name: str, folder: Path, environment: Mapping[str, str], how: str) -> Iterator[subprocess.Popen[bytes]]:
    """`taskdistill serve` or `worker` in a group of its own; `how` is what a shell does."""
    log = folder / f"{name}.log"
    command = ["sh", "-c", how, "sh", sys.executable, "-m", "flows.cli", name]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | dict(environment), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=15)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def seconds_to_end(process: subprocess.Popen[bytes], children: list[psutil.Process]) -> float:
    """Wait for a process; afterwards none of its children may be there."""
    began = time.monotonic()
    process.wait(timeout=60)
    seconds = time.monotonic() - began
    assert [child for child in children if child.is_running()] == []
    return seconds


@pytest.fixture(scope="module")
def environment(
    server: dict[str, str], finished_bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    store = tmp_path_factory.mktemp("stopped") / "store"
    return {**server, "TASKDISTILL_STORE": str(store), "PREFECT_WORKER_QUERY_SECONDS": "1"}


@pytest.fixture(scope="module")
def lengthy(experiment: Experiment, environment: dict[str, str]) -> Experiment:
    """Some minutes of extraction for two workers, image by image."""
    views = experiment.views.model_copy(update={"num_views": 400})
    runtime = experiment.runtime.model_copy(update={"fan_out": 2, "inference_batch_size": 1, "workers": 1})
    made = experiment.model_copy(update={"views": views, "runtime": runtime})
    store = ArtifactStore(Path(environment["TASKDISTILL_STORE"]))
    quietly(made, store)(make_plan(made, store).steps[0])
    return made


def test_sigterm_ends_serve_and_worker_and_no_run_stays_running(
    client: Any, environment: dict[str, str], lengthy: Experiment, tmp_path: Path
) -> None:
    from flows.deployed.server import are_workers_online

    store = ArtifactStore(Path(environment["TASKDISTILL_STORE"]))
    wanted = next(step.ref for step in make_plan(lengthy, store).steps if step.name == "extract-teacher")
    with (
        started("serve", tmp_path, environment, IN_THE_BACKGROUND) as serve,
        started("worker", tmp_path, environment, 'exec "$@"') as worker,
    ):
        served = Served(client, store, tmp_path / "serve.log")
        until(lambda: "serving" in served.log.read_text(), seconds=90, log=served.log)
        until(lambda: are_workers_online(client), seconds=90, log=tmp_path / "worker.log")
        parent = served.start("extract/stage-extract", {"overrides": as_overrides(lengthy)})
        chunks = store.draft_path(wanted) / "outputs.zarr" / "augmented" / "outputs" / "c"
        until(lambda: chunks.is_dir() and any(chunks.iterdir()), seconds=120, log=tmp_path / "worker.log")
        of_serve, of_worker = family(serve), family(worker)
        assert of_serve
        assert of_worker

        os.killpg(worker.pid, signal.SIGTERM)  # the group, as a service manager does
        assert seconds_to_end(worker, of_worker) < SECONDS
        assert worker.returncode == 128 + signal.SIGTERM

        serve.send_signal(signal.SIGTERM)  # the process alone, as docker does
        assert seconds_to_end(serve, of_serve) < SECONDS
        assert serve.returncode == 128 + signal.SIGTERM

    runs = client.read_flow_runs()
    assert client.read_flow_run(parent).state.name == "Crashed"
    assert [run.name for run in runs if run.state.name in ("Running", "Pending")] == []
