"""What becomes of 20 runs that are asked for at the same moment, on a server with SQLite and on one with PostgreSQL.

    python -m tests.benchmarks.runs_at_once [--quick]

Each is asked for once, as the page does it, which tries no second time. Each trains a pair of students for a seed of
its own on the birds, for one epoch, after a first run has made what they share; the quick form ingests the birds, which
are in the store already. All must be taken and complete. Two runs at a time, which is what `up` lets in by default.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taskdistill.storage.store import ArtifactStore
from tests.benchmarks.report import Row, finish, parser
from tests.flows.at_once import Asked, ask_at_once
from tests.flows.local_server import Served, asked, machine, password_of
from tests.flows.postgres import postgres, programs

AT_ONCE = 20
QUICK = "ingest/stage-ingest"
WHOLE = "distillation/distillation"
TINY = ("views.num_views=2", "probe.steps=10", "student_probe.steps=10")
SECONDS = 3600.0


def main() -> None:
    arguments = parser(__doc__).parse_args()
    rows = measured("SQLite", "", quick=arguments.quick)
    if programs():
        with postgres() as database:
            rows += measured("PostgreSQL", database.url, quick=arguments.quick)
    finish("Runs that are asked for at the same moment", rows, as_json=arguments.json)


def measured(name: str, database: str, *, quick: bool) -> list[Row]:
    """Ask one server for the runs and wait for them."""
    deployment = QUICK if quick else WHOLE
    with tempfile.TemporaryDirectory() as folder, served_with(Path(folder), database) as (url, password, served):
        wait(served, [served.start(deployment, parameters(0))])
        runs = [Asked(parameters(seed), datetime.now(UTC)) for seed in range(1, AT_ONCE + 1)]
        began = time.perf_counter()
        taken = ask_at_once(url, password, served.client.read_deployment_by_name(deployment).id, runs)
        asked = time.perf_counter() - began
        completed = wait(served, taken)
        return [
            Row(f"{name}: taken", len(taken), at_least=AT_ONCE),
            Row(f"{name}: completed", completed, at_least=AT_ONCE),
            Row(f"{name}: until all were taken", asked, "s"),
            Row(f"{name}: a run", (time.perf_counter() - began) / AT_ONCE, "s"),
        ]


def parameters(seed: int) -> Mapping[str, Any]:
    return {"seeds": [seed], "epochs": 1, "blends": "off", "overrides": list(TINY)}


@contextmanager
def served_with(folder: Path, database: str) -> Iterator[tuple[str, str, Served]]:
    """Bring a machine up; yields the address of its API, its password, and itself."""
    variables = {"TASKDISTILL_DATABASE_URL": database} if database else {}
    with machine(folder, variables=variables) as environment:
        url, password = environment["PREFECT_API_URL"], password_of(environment)
        with asked(environment) as client:
            yield url, password, Served(client, ArtifactStore(folder / "store"), folder / "state" / "worker.log")


def wait(served: Served, runs: list[Any]) -> int:
    """Wait for the end of runs; returns how many completed."""
    deadline = time.monotonic() + SECONDS
    while not all((found := served.client.read_flow_run(run)).state.is_final() for run in runs):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found.name} has not ended after {SECONDS:.0f} s")
        time.sleep(1)
    return sum(served.client.read_flow_run(run).state.is_completed() for run in runs)


if __name__ == "__main__":
    main()
