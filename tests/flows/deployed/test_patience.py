"""A server that is away for some seconds, or answers that it cannot, is asked again by a run that needs it."""

import logging
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from taskdistill.flows.deployed import patience
from taskdistill.flows.deployed.children import Asking
from taskdistill.flows.deployed.patience import is_passing, patiently
from taskdistill.flows.deployed.server import SPAN_DEPLOYMENT
from taskdistill.flows.pipeline.process_pool import StepKilledError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.small_client import client_of
from tests.flows.small_server import Asked

REF = ArtifactRef("features", "a" * 64)
WORKER = "host-1-2-gpux1"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ASK_SECONDS", 0.01)


def test_a_server_that_is_away_is_asked_again_but_not_one_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, asked = FlowRun(flow_id=uuid4()), []

    def answer(question: Asked) -> tuple[int, Any]:
        asked.append(question.path)
        if question.path == "/flow_runs/":
            return 409, {"detail": "no such parameter"}
        return (200, run.model_dump(mode="json")) if len(asked) > 2 else (500, {})

    with client_of(answer, tmp_path) as client, caplog.at_level(logging.WARNING, logger=patience.__name__):
        assert patiently(lambda: client.read_flow_run(run.id)).id == run.id
        assert asked == [f"/flow_runs/{run.id}"] * 3
        assert [line.split(" (")[0] for line in caplog.messages] == [
            "the Prefect server is away",
            "the Prefect server is back",
        ]
        with pytest.raises(PrefectHTTPStatusError) as refused:
            patiently(lambda: client.request("POST", "/flow_runs/"))
        assert (refused.value.response.json()["detail"], len(asked)) == ("no such parameter", 4)
        monkeypatch.setattr(patience, "AWAY_SECONDS", 0.0)
        asked.clear()
        with pytest.raises(PrefectHTTPStatusError) as away:
            patiently(lambda: client.read_flow_run(run.id))
    assert is_passing(away.value)


class Ailing:
    """A server that answers each question with an error first, and then as it should; one child, which completes."""

    def __init__(self) -> None:
        self.run = FlowRun(flow_id=uuid4(), name="child", parameters={"numbers": [0]})
        self.failed: set[str] = set()
        self.keys: list[str] = []

    def answer(self, question: Asked) -> tuple[int, Any]:
        if question.path.endswith("/create_flow_run"):
            self.keys.append(question.body["idempotency_key"])
        if question.path not in self.failed:
            self.failed.add(question.path)
            return 500, {}
        return 200, self._answer(question.path)

    def _answer(self, path: str) -> Any:
        if path.endswith("/workers/filter"):
            return [{"id": str(uuid4()), "name": WORKER, "work_pool_id": str(uuid4())}]
        if path.startswith("/deployments/name/"):
            return {"id": str(UUID(int=1)), "name": "span", "flow_id": str(uuid4())}
        if path == "/flow_runs/filter":
            return []
        state = {"type": "COMPLETED", "name": "Completed"} if path == f"/flow_runs/{self.run.id}" else None
        return self.run.model_dump(mode="json") | {"state": state}


def test_a_fan_out_outlasts_a_server_that_fails_at_each_question_once_and_asks_for_no_run_twice(
    store: ArtifactStore, tmp_path: Path
) -> None:
    ailing = Ailing()
    asking = Asking(store, REF, SPAN_DEPLOYMENT, threading.Event())
    with client_of(ailing.answer, tmp_path):
        (child,) = asking.have_made([0], lambda units: [asking.start("child", {"numbers": [*units]})], lambda: [])
    assert child.run.id == ailing.run.id
    assert len(ailing.keys) == 2
    assert len(set(ailing.keys)) == 1


def test_a_run_that_is_over_does_not_wait_for_a_server_that_is_away(store: ArtifactStore, tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    with client_of(lambda _: (500, {}), tmp_path), pytest.raises(StepKilledError):
        Asking(store, REF, SPAN_DEPLOYMENT, stopped).have_made([0], lambda _: [], lambda: [0])
