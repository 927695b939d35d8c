"""What MLflow is told of a run, asked of a real server: MLFLOW_SERVER names the program `mlflow` of an environment that
has the package mlflow, which does not get along with the pins of this one.
"""

import contextlib
import http.server
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskdistill.flows import api
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command, call

mlflow = pytest.importorskip("mlflow", reason="the package mlflow-skinny is not installed: extra trackers")

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def wait_until_healthy(server: "subprocess.Popen[bytes]", uri: str) -> None:
    for _ in range(240):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{uri}/health").status_code == 200:
                return
        assert server.poll() is None, "the MLflow server ended"
        time.sleep(0.5)
    pytest.fail("the MLflow server does not answer")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server."""
    if not (program := os.environ.get("MLFLOW_SERVER")):
        pytest.skip(
            "MLFLOW_SERVER is not set: python -m venv V; V/bin/pip install mlflow==3.17.2; MLFLOW_SERVER=V/bin/mlflow"
        )
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [program, "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", f"{folder}/artifacts"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | QUIET
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until_healthy(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


def runs(uri: str, name: str) -> tuple[list[Any], list[Any]]:
    """Return the runs of an MLflow experiment that are not nested, and those that are."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    nested = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in nested], nested


def told(uri: str, name: str, *more: str) -> list[str]:
    return ["--set", f"runtime.mlflow_uri={uri}", "--set", f"name={name}", *more]


def test_a_run_has_one_nested_in_it_for_each_model_with_its_scores(
    taskdistill: Command, preset: str, served: str, finished: ArtifactStore, tmp_path: Path
) -> None:
    done = taskdistill("run", preset, "--json", *told(served, "all-of-it"))
    assert done.code == 0, done.stderr
    [parent], nested = runs(served, "all-of-it")
    assert {run.info.status for run in (parent, *nested)} == {"FINISHED"}
    assert parent.data.params["training.batch_size"] == "8"
    assert not any(name.startswith("runtime") for name in parent.data.params)
    by_name = {run.info.run_name: run for run in nested}
    assert by_name.keys() == {
        "teacher probed", "student probed", "student finetuned, seed 0", "student distilled, seed 0"
    }  # fmt: skip
    for row in done.json["scores"]:
        run = by_name[row["model"] + ("" if row["seed"] is None else f", seed {row['seed']}")]
        assert run.data.metrics[f"{row['split']}/{row['metric']}"] == pytest.approx(row["value"])
        assert run.data.tags["taskdistill.evaluation"] in row["reference"]
    distilled = by_name["student distilled, seed 0"]
    assert {name: distilled.data.params[name] for name in ("network", "seed", "alpha", "temperature", "preset")} == {
        "network": "test_resnet", "seed": "0", "alpha": "0.75", "temperature": "2.0", "preset": "all-of-it"
    }  # fmt: skip


def test_learning_curve_report_and_the_best_student_are_there(
    taskdistill: Command, preset: str, served: str, finished: ArtifactStore, tmp_path: Path
) -> None:
    done = taskdistill("run", preset, "--json", *told(served, "best"))
    [parent], nested = runs(served, "best")
    client = mlflow.MlflowClient(tracking_uri=served)
    report = client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path))
    assert "student distilled" in Path(report).read_text()
    best = finished.resolve(done.json["best"]["reference"])
    [shipped] = [run for run in nested if client.list_artifacts(run.info.run_id)]
    assert shipped.data.tags["taskdistill.reference"] == str(best)
    folder = Path(client.download_artifacts(shipped.info.run_id, "model", str(tmp_path)))
    weights = json.loads((folder / "model.json").read_text())["weights"]
    assert {path.name for path in folder.iterdir()} == {"README.md", "model.json", weights}
    assert (folder / weights).read_bytes() == (finished.path(best) / weights).read_bytes()
    curve = client.get_metric_history(shipped.info.run_id, "curve/val_score")
    assert [point.step for point in curve] == [0, 3, 6]


def test_what_is_told_is_not_told_again(taskdistill: Command, preset: str, served: str) -> None:
    for _ in range(2):
        assert taskdistill("run", preset, *told(served, "twice")).code == 0
    parents, nested = runs(served, "twice")
    assert (len(parents), len(nested)) == (1, 4)


def test_what_an_attempt_left_unfinished_is_completed_with_every_point_once(
    taskdistill: Command, preset: str, served: str
) -> None:
    taskdistill("run", preset, *told(served, "unfinished"))
    client = mlflow.MlflowClient(tracking_uri=served)
    [parent], nested = runs(served, "unfinished")
    [distilled] = [run for run in nested if run.info.run_name.startswith("student distilled")]
    for run in (parent, distilled):
        client.update_run(run.info.run_id, "RUNNING")
    client.delete_run(next(run for run in nested if run.info.run_name == "student probed").info.run_id)
    taskdistill("run", preset, *told(served, "unfinished"))
    [again], nested = runs(served, "unfinished")
    assert (again.info.run_id, again.info.status, len(nested)) == (parent.info.run_id, "FINISHED", 4)
    assert [point.step for point in client.get_metric_history(distilled.info.run_id, "curve/val_score")] == [0, 3, 6]


def test_no_password_of_the_address_is_printed_or_kept(
    finished: ArtifactStore, preset: str, served: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    there = served.replace("://", "://somebody:se%2Fcret@")
    for uri in (there, there.replace("127.0.0.1", "127.0.0.2")):  # where nobody listens
        done = call(finished, "run", preset, *told(uri, "password", "--set", "distill.alpha=0.7"))
        assert (done.code, "cret" in done.stdout + done.stderr) == (0, False)
    assert len(runs(served, "password")[0]) == 1  # it was taken
    said = [record for record in caplog.records if "cret" in record.getMessage()]
    assert said == []
    assert [path for path in finished.root.rglob("*") if path.is_file() and b"se%2Fcret" in path.read_bytes()] == []


def test_a_server_that_is_away_costs_a_warning(
    taskdistill: Command, preset: str, caplog: pytest.LogCaptureFixture
) -> None:
    as_always = taskdistill("run", preset, "--json")
    done = taskdistill("run", preset, "--json", "--set", f"runtime.mlflow_uri=http://127.0.0.1:{free_port()}")
    assert (done.code, done.json["scores"]) == (0, as_always.json["scores"])
    [warning] = [record.getMessage() for record in caplog.records if "MLflow" in record.getMessage()]
    assert "give the same command again" in warning


def test_a_server_that_is_none_of_mlflow_costs_a_warning(
    taskdistill: Command, preset: str, caplog: pytest.LogCaptureFixture
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        done = taskdistill("run", preset, "--set", f"runtime.mlflow_uri=http://127.0.0.1:{other.server_port}")
        other.shutdown()
        thread.join()
    assert done.code == 0
    assert "student distilled" in done.stdout
    assert "MLflow at http://127.0.0.1" in caplog.text


def test_a_run_from_python_is_told_too(
    finished: ArtifactStore, preset: str, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    api.run(preset, f"runtime.mlflow_uri={served}", "name=from-python")
    parents, nested = runs(served, "from-python")
    assert (len(parents), len(nested)) == (1, 4)
