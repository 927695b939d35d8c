"""Where a server keeps its runs: twenty that are started at once, in a file of its machine and in a real PostgreSQL;
and who is told the password of that.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.deployed.server import ServerError
from taskdistill.flows.operation.database import check_database, given_database
from taskdistill.storage.store import ArtifactStore
from tests.conftest import Bench
from tests.flows.at_once import ask_at_once, now_and_later
from tests.flows.conftest import as_overrides
from tests.flows.local_server import Served, asked, children_of, command, free_port, machine, password_of, refill
from tests.flows.postgres import PASSWORD, postgres

AT_ONCE, NOW = 20, 4
"""Asked for at the same moment, and of these begun now; tests.benchmarks.runs_at_once does all of them."""
DEPLOYMENT = "ingest/stage-ingest"
"""The shortest run there is, where all that it makes is in the store."""


# --- what is given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("", ""),
        ("postgresql://me@host/runs", "postgresql+asyncpg://me@host/runs"),
        ("postgres://me:a%40b@host:5433/runs", "postgresql+asyncpg://me:a%40b@host:5433/runs"),
        ("postgresql+asyncpg://me@host/runs", "postgresql+asyncpg://me@host/runs"),
        ("postgresql://me@host/runs?sslmode=require", "postgresql+asyncpg://me@host/runs?ssl=require"),
        ("postgresql://me@/runs?host=/run/postgresql", "postgresql+asyncpg://me@/runs?host=/run/postgresql"),
    ],
)
def test_the_url_that_everybody_writes_becomes_the_one_that_prefect_reads(url: str, read: str):
    assert given_database(url).replace("%2F", "/") == read


@pytest.mark.parametrize("url", ["mysql://me:secret@host/runs", "sqlite:///file", "postgresql://me:secret@host", "x"])
def test_what_is_no_database_of_postgresql_is_refused_without_its_password(url: str):
    with pytest.raises(ServerError, match="postgresql://USER@HOST:5432/NAME") as caught:
        given_database(url)
    assert "secret" not in str(caught.value)


def test_workers_and_runs_do_not_inherit_the_password(monkeypatch: pytest.MonkeyPatch):
    import os

    monkeypatch.setenv("TASKDISTILL_DATABASE_URL", "postgresql://me:secret@host/runs")
    given_database("postgresql://me:secret@host/runs")
    assert "TASKDISTILL_DATABASE_URL" not in os.environ


@pytest.mark.parametrize("url", ["postgresql://me:secret@host/runs", "postgresql://me@host/runs?password=secret"])
def test_a_password_on_the_command_line_is_refused_with_the_place_where_it_may_stand(url: str, tmp_path: Path):
    done = command(["up", "--port", free_port(), "--database-url", url], {"PREFECT_HOME": str(tmp_path)})
    assert done.code == 1
    assert "give the URL in the variable TASKDISTILL_DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "taskdistill-password").exists()


def test_a_database_that_is_not_there_is_said_before_anything_is_started(tmp_path: Path):
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/runs"
    environment = {"PREFECT_HOME": str(tmp_path), "TASKDISTILL_DATABASE_URL": url}
    done = command(["up", "--port", free_port()], environment)
    assert done.code == 1
    assert "the database postgresql+asyncpg://me:***@127.0.0.1" in done.stderr
    assert "Connect call failed" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


# --- twenty at once ----------------------------------------------------------------------------------------------


@pytest.mark.prefect
@pytest.mark.slow
def test_twenty_runs_that_are_asked_for_at_once_are_all_taken_and_those_of_now_complete(
    server: dict[str, str], password: str, served: Served, experiment: Experiment
) -> None:
    _check_twenty(server["PREFECT_API_URL"], password, served, experiment)


def _check_twenty(url: str, password: str, served: Served, experiment: Experiment) -> None:
    deployment = served.client.read_deployment_by_name(DEPLOYMENT).id
    wanted = now_and_later({"overrides": as_overrides(experiment)}, now=NOW, number=AT_ONCE)
    runs = ask_at_once(url, password, deployment, wanted)
    assert len(runs) == AT_ONCE
    assert [served.finish(run).state.name for run in runs[:NOW]] == ["Completed"] * NOW
    for run in runs[NOW:]:
        served.client.delete_flow_run(run)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.mark.slow
def test_a_database_that_lets_nobody_in_is_refused_in_its_own_words(database: str) -> None:
    for wrong, why in [
        (database.replace(PASSWORD, "wrong"), "password authentication failed"),
        (database.replace("/runs", "/others"), 'database "others" does not exist'),
        (f"{database}?no-such-option=1", "unexpected keyword argument"),
    ]:
        with pytest.raises(ServerError, match=why) as caught:
            check_database(given_database(wrong))
        assert "wrong" not in str(caught.value)


@pytest.mark.slow
def test_the_password_may_stand_where_all_programs_of_postgresql_look_for_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = database.replace(f":{PASSWORD}", "")
    with pytest.raises(ServerError, match="password"):
        check_database(given_database(without))
    (tmp_path / "pgpass").write_text(f"127.0.0.1:*:runs:taskdistill:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    check_database(given_database(without))


@pytest.mark.prefect
@pytest.mark.slow
def test_with_postgresql_so_are_they_and_its_password_is_in_no_command_line_and_in_no_file(
    database: str, experiment: Experiment, finished_bench: Bench, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path / "store")
    refill(store, finished_bench.store)
    with machine(tmp_path, variables={"TASKDISTILL_DATABASE_URL": database}) as environment:
        url, password = environment["PREFECT_API_URL"], password_of(environment)
        with asked(environment) as client:
            served = Served(client, store, tmp_path / "state" / "worker.log")
            _check_twenty(url, password, served, experiment)
        _check_who_knows(environment)
    assert asyncio.run(_count(database)) == NOW
    assert not list(tmp_path.rglob("*.db"))
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"server.log", "worker.log", "deploy.log", "prefect.yaml"}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def _check_who_knows(environment: dict[str, str]) -> None:
    """No command line tells the password, and of the processes that were started only the server is told it."""
    children = {name: psutil.Process(pid) for name, pid in children_of(environment).items()}
    told = {
        name
        for name, child in children.items()
        for process in (child, *child.children(recursive=True))
        if any(PASSWORD in value for value in process.environ().values())
    }
    assert told == {"server"}
    everybody = [child.parent() for child in children.values()] + list(children.values())
    assert not any(PASSWORD in word for process in everybody if process for word in process.cmdline())


async def _count(database: str) -> Any:
    connection: Any = await asyncpg.connect(database)
    try:
        return await connection.fetchval("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")
    finally:
        await connection.close()
