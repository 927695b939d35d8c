"""A server that is away ends no worker and no run, and nobody is taken for dead whom it could not hear."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, PREFECT_HOME, temporary_settings
from prefect.states import Running
from prefect.utilities.services import critical_service_loop

from taskdistill.flows.deployed.server import WorkerName
from taskdistill.flows.operation import outage
from taskdistill.flows.operation.outage import LastingWorker, Listening, Outage
from taskdistill.flows.operation.processes import Process, this_host
from taskdistill.flows.operation.stopping import INTERRUPTED, runs_of_this_process, until_stopped
from taskdistill.flows.reports.prefect_ui import report_steps
from taskdistill.storage.store import ArtifactStore
from tests.flows.small_server import Asked, answering


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[None]:
    """A server whose database is away: it answers, and has nothing but 500 to say."""
    with (
        answering(lambda asked: (500, {"exception_message": "Internal Server Error"})) as url,
        temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: tmp_path}),
    ):
        yield


# --- the worker ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def worker_of(limit: int | None = None) -> AsyncIterator[LastingWorker]:
    """One that has been set up, without what Prefect starts beside it."""
    worker = LastingWorker(name="one", work_pool_name="taskdistill", create_pool_if_not_found=False, limit=limit)
    await worker.setup()
    try:
        yield worker
    finally:
        await worker.teardown(None, None, None)


@pytest.mark.parametrize("question", ["get_and_submit_flow_runs", "_sync_and_initialize"])
def test_no_number_of_failed_questions_ends_a_worker(question: str, failing: None) -> None:
    num_asked = 0

    async def asking() -> None:
        async with worker_of() as worker:
            worker._has_successfully_synced = True

            async def ask() -> None:
                nonlocal num_asked
                num_asked += 1
                if num_asked > 20:  # Prefect's own gives up at the twelfth that fails
                    raise EnoughError
                await getattr(worker, question)()

            await critical_service_loop(ask, interval=0.01, backoff=4)

    with pytest.raises(EnoughError):
        asyncio.run(asking())


class EnoughError(Exception):
    """As often as a test asks."""


def test_a_run_that_cannot_be_taken_up_just_now_leaves_its_place_to_others(failing: None) -> None:
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4())

    async def taking_up() -> tuple[int, set[UUID]]:
        async with worker_of(limit=1) as worker:
            worker.limiter.acquire_on_behalf_of_nowait(run.id)
            worker._submitting_flow_run_ids.add(run.id)
            await worker._submit_run(run)
            return worker.limiter.borrowed_tokens, worker._submitting_flow_run_ids

    assert asyncio.run(taking_up()) == (0, set())


def test_an_outage_is_said_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    now = Outage()
    for is_there in (True, False, False, True, True):
        with now.outlasted():
            if not is_there:
                raise httpx.ConnectError("refused")
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the server is away (refused)",
        "the server is back",
    ]


def test_a_worker_that_cannot_go_on_hands_back_what_it_was_doing(tmp_path: Path) -> None:
    run = FlowRun(flow_id=uuid4(), state=Running())
    told: list[Any] = []

    def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path.endswith("/set_state"):
            told.append((asked.path, asked.body["state"]["name"]))
        return (200, run.model_dump(mode="json")) if asked.path == f"/flow_runs/{run.id}" else (500, {})

    async def work() -> None:
        INTERRUPTED.add(run.id)  # as the one does that waits for the end of its process
        raise RuntimeError("Service exceeded error threshold.")

    settings = {PREFECT_HOME: tmp_path, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with (
        answering(answer) as url,
        temporary_settings({PREFECT_API_URL: url, **settings}),
        pytest.raises(SystemExit) as ended,
    ):
        until_stopped(work(), "hand-back", lambda: None)
    INTERRUPTED.clear()
    assert ended.value.code == 1
    assert told == [(f"/flow_runs/{run.id}/set_state", "AwaitingRetry")]


def test_a_run_whose_worker_fails_is_ended_and_noted_to_be_handed_back(tmp_path: Path) -> None:
    from prefect.runner._control_channel import ControlChannel

    from taskdistill.flows.operation.warm import _Spares, _Starter

    run = FlowRun(flow_id=uuid4())

    async def failing() -> int | None:
        spares = _Spares()
        process = spares._waiting = await anyio.open_process(["sleep", "60"], stdin=subprocess.PIPE)
        starting = asyncio.ensure_future(_Starter(spares, str(tmp_path), {}, ControlChannel()).start(run))
        while run.id not in runs_of_this_process().values():
            assert not starting.done()
            await asyncio.sleep(0.01)
        starting.cancel()
        await asyncio.wait([starting])
        await spares.close()
        return process.returncode

    assert asyncio.run(failing()) == -signal.SIGTERM
    assert {run.id} == INTERRUPTED
    INTERRUPTED.clear()


@pytest.mark.parametrize(("error", "is_said"), [(KeyError("events"), True), (httpx.ConnectError("refused"), False)])
def test_whatever_goes_wrong_as_a_worker_looks_around_is_said_and_ends_nothing(
    error: Exception, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    from taskdistill.flows.operation.worker import _tried

    def look() -> None:
        raise error

    asyncio.run(_tried(look))
    assert ("could not look after what is on the server: 'events'" in caplog.text) == is_said


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_a_run_does_not_fail_of_a_report_that_cannot_be_sent(
    failing: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report_steps([], ArtifactStore(tmp_path / "store"), "birds")
    assert "the table of steps could not be sent to the server (Server error '500" in caplog.text


# --- who is taken for dead -------------------------------------------------------------------------------------------


def test_silence_counts_from_when_the_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening()
    with listening.asking() as seconds:
        assert seconds == 0
    with listening.asking() as seconds:
        assert seconds > 0
    with pytest.raises(httpx.ConnectError), listening.asking():
        raise httpx.ConnectError("refused")
    with listening.asking() as seconds:
        assert seconds == 0
    monkeypatch.setattr(outage, "SLOW_SECONDS", 0.0)
    with listening.asking():
        pass  # so slow that it may have been asked twice
    with listening.asking() as seconds:
        assert seconds < 1


def of_this_process(seconds: float) -> FlowRun:
    """A run that a worker took up which is this process, and that has been Running for so long."""
    name = WorkerName(this_host(), *Process.own(), {"cpu": 1})
    state = Running(timestamp=datetime.now(UTC) - timedelta(seconds=seconds))
    return FlowRun(flow_id=uuid4(), labels={"prefect.worker.name": str(name)}, state=state)


def test_a_run_is_lost_whose_worker_lives_and_has_had_no_process_for_it_for_long() -> None:
    from taskdistill.flows.operation.spare import RUN_ID
    from taskdistill.flows.operation.zombies import LOST_SECONDS, _is_here

    lost, begins = of_this_process(LOST_SECONDS + 1), of_this_process(LOST_SECONDS - 60)
    assert _is_here(lost, this_host()) == f"its worker on {this_host()} has no process for it"
    assert _is_here(begins, this_host()) == ""
    with subprocess.Popen(["sleep", "60"], env={RUN_ID: str(lost.id)}) as process:
        assert _is_here(lost, this_host()) == ""
        process.kill()
