"""How long a run takes in which everything is there already: from the click to Completed, on a worker that waits.

    python -m tests.benchmarks.reused_run

A machine is brought up and draws birds, a first run makes its steps (one epoch); then the same is asked for again,
five times. Beside it stands what the same steps take in a process that has no Prefect, so that a step's share of the
difference shows. Wall time, as that is what a person waits for: on a machine that does nothing else.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from taskdistill.flows.birds import folder_of
from taskdistill.flows.deployed.short_form import ShortForm, experiment_of, filled_in
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.runs_at_once import WHOLE, parameters, served_with, wait
from tests.flows.local_server import Served

CLICKS = 5


def main() -> None:
    arguments = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, served_with(Path(folder), "") as (_, _, served):
        wait(served, [served.start(WHOLE, parameters(0))])
        runs = [clicked(served) for _ in range(CLICKS)]
        steps = len(served.tasks(runs[0].id))
        plain = plain_seconds(served.store, Path(folder))
    seconds = statistics.median((run.end_time - run.created).total_seconds() for run in runs)
    in_flow = statistics.median(run.total_run_time.total_seconds() for run in runs)
    rows = [
        Row(f"from the click to Completed, {steps} steps", seconds, "s", at_most=5.0),
        Row("a step, over the same steps without Prefect", (in_flow - plain) / steps, "s", at_most=0.2),
    ]
    finish("A run that finds everything", rows, as_json=arguments.json)


def clicked(served: Served) -> Any:
    """Ask for the run once more and wait for its end; returns it."""
    run = served.start(WHOLE, parameters(0))
    wait(served, [run])
    found = served.client.read_flow_run(run)
    if not (found.state.is_completed() and found.name.endswith("(all reused)")):
        raise RuntimeError(f"the run is {found.state.name} and called {found.name!r}: expected to find everything")
    return found


def plain_seconds(store: ArtifactStore, folder: Path) -> float:
    """Return how long the same steps take where nothing is shown to anybody."""
    form = filled_in(ShortForm, {**parameters(0), "data_path": str(folder_of(folder / "state", 0))})
    experiment = experiment_of(form)

    def quietly(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        return execute(step, no_progress)

    run_plan(experiment, store, quietly)
    began = time.perf_counter()
    run_plan(experiment, store, quietly)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
