"""Where a server keeps its runs: twenty that are started at once, in a file of its machine and in a real PostgreSQL;
and who is told the password of that.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psutil
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.deployed.server import ServerError
from taskdistill.flows.operation.database import check_database, given_database
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.storage.store import ArtifactStore
from tests.conftest import Bench
from tests.fault_matrix.faults import slowed
from tests.flows.at_once import ask_at_once, now_and_later
from tests.flows.conftest import as_overrides
from tests.flows.local_server import (
    START_SECONDS,
    Served,
    asked,
    children_of,
    command,
    free_port,
    machine,
    password_of,
    refill,
    until,
)
from tests.flows.postgres import PASSWORD, Postgres, postgres

AT_ONCE, NOW = 20, 4
"""Asked for at the same moment, and of these begun now; tests.benchmarks.runs_at_once does all of them."""
AWAY_SECONDS, EPOCHS = 30.0, 60
"""A database is away while students are trained for so long."""
DEPLOYMENT = "ingest/stage-ingest"
"""The shortest run there is, where all that it makes is in the store."""
PIPELINE = "distillation-all-settings/distillation-all-settings"


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


@pytest.mark.nightly
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
def database() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


@pytest.mark.slow
def test_a_database_that_lets_nobody_in_is_refused_in_its_own_words(database: Postgres) -> None:
    url = database.url
    for wrong, why in [
        (url.replace(PASSWORD, "wrong"), "password authentication failed"),
        (url.replace("/runs", "/others"), 'database "others" does not exist'),
        (f"{url}?no-such-option=1", "unexpected keyword argument"),
    ]:
        with pytest.raises(ServerError, match=why) as caught:
            check_database(given_database(wrong))
        assert "wrong" not in str(caught.value)


@pytest.mark.slow
def test_the_password_may_stand_where_all_programs_of_postgresql_look_for_it(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = database.url.replace(f":{PASSWORD}", "")
    with pytest.raises(ServerError, match="password"):
        check_database(given_database(without))
    (tmp_path / "pgpass").write_text(f"127.0.0.1:*:runs:taskdistill:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    check_database(given_database(without))


class OnPostgres(NamedTuple):
    """A machine whose server keeps its runs there, and which has made all that students are trained from."""

    folder: Path
    environment: dict[str, str]
    served: Served


@pytest.fixture(scope="module")
def on_postgres(
    database: Postgres, finished_bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OnPostgres]:
    folder = tmp_path_factory.mktemp("on-postgres")
    store = ArtifactStore(folder / "store")
    refill(store, finished_bench.store)
    with (
        machine(folder, variables={"TASKDISTILL_DATABASE_URL": database.url}) as environment,
        asked(environment) as client,
    ):
        yield OnPostgres(folder, environment, Served(client, store, folder / "state" / "worker.log"))


@pytest.mark.nightly
@pytest.mark.prefect
@pytest.mark.slow
def test_with_postgresql_so_are_they_and_its_password_is_in_no_command_line_and_in_no_file(
    database: Postgres, on_postgres: OnPostgres, experiment: Experiment
) -> None:
    folder, environment, served = on_postgres
    _check_twenty(environment["PREFECT_API_URL"], password_of(environment), served, experiment)
    _check_who_knows(environment)
    assert asyncio.run(_count(database.url)) == NOW
    assert not list(folder.rglob("*.db"))
    files = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"server.log", "worker.log", "deploy.log", "prefect.yaml"}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


@pytest.mark.nightly
@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_goes_on_while_the_database_is_away_and_says_so_when_it_is_back(
    database: Postgres, on_postgres: OnPostgres, experiment: Experiment
) -> None:
    if not os.environ.get("TASKDISTILL_FAULTS"):
        pytest.skip("'python -m tests.fault_matrix --check' makes it happen")
    served, training = on_postgres.served, experiment.training.model_copy(update={"epochs": EPOCHS})
    long = experiment.model_copy(update={"training": training})
    run = served.start(
        "distillation-all-settings/distillation-all-settings", {"experiment": experiment_settings_of(long)}
    )
    until(lambda: "Running" in served.tasks(run).values(), seconds=START_SECONDS, log=served.log)
    process = psutil.Process(int(served.client.read_flow_run(run).infrastructure_pid))
    with slowed(process):  # one that came to its end meanwhile could not say so
        database.stop()
        time.sleep(AWAY_SECONDS)
        database.start()
    assert served.finish(run).state.name == "Completed"
    until(lambda: set(served.tasks(run).values()) == {"Completed"}, seconds=300, log=served.log)


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


async def _count(url: str) -> Any:
    connection: Any = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")
    finally:
        await connection.close()
