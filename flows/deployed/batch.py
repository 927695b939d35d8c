"""Several runs one after the other, each on its own whatever becomes of the others; made for schedules.

Each is a run of the deployment `distillation`: with its own page, and its own Retry. It is done here, in a process of
its own that lives no longer than the batch's: one that waited in a queue of the work pool would wait for the place that
the batch has.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Crashed, Pending
from pydantic import Field
from rich.table import Table

from configs.base import Settings
from configs.errors import UserError
from flows.birds import PRESET
from flows.deployed.forms import taking
from flows.deployed.nested_run import run_in_a_process
from flows.deployed.server import PIPELINE_DEPLOYMENT, ServerError
from flows.deployed.short_form import filled_in
from flows.reports.tables import as_markdown
from tasks.prefect_task import show_logs_in_ui

REPORT = "batch-summary"


class BatchForm(Settings):
    """Several runs."""

    runs: tuple[dict[str, Any], ...] = Field(default=({"preset": PRESET},), min_length=1)


class RunsFailedError(UserError):
    """Some runs of a batch did not complete."""


class Outcome(NamedTuple):
    """What became of one run."""

    name: str
    state: str
    seconds: float
    message: str
    flow_run: str
    """Its id; empty where the server took none."""

    @property
    def is_completed(self) -> bool:
        return self.state == "Completed"


@flow(name="batch", persist_result=False)
@taking(BatchForm)
def batch(**sent: Any) -> list[str]:
    """Do the runs in turn and report what became of each; fails at the end where one of them did.

    Raises RunsFailedError.
    """
    show_logs_in_ui()
    form = filled_in(BatchForm, sent)
    outcomes = [_outcome(number, parameters) for number, parameters in enumerate(form.runs, start=1)]
    create_markdown_artifact(summary(outcomes), key=REPORT, description="What became of each run")
    if failed := [one for one in outcomes if not one.is_completed]:
        told = "\n".join(f"- {one.name}: {one.state}: {one.message}" for one in failed)
        raise RunsFailedError(f"{len(failed)} of {len(outcomes)} runs did not complete:\n{told}")
    return [one.flow_run for one in outcomes]


def summary(outcomes: list[Outcome]) -> str:
    """Return a table with a line for each run, as Markdown."""
    table = Table("run", "state", "seconds", "what it says")
    for one in outcomes:
        linked = f"[{one.name}](/v2/runs/flow-run/{one.flow_run})" if one.flow_run else one.name
        table.add_row(linked, one.state, f"{one.seconds:.0f}", one.message)
    return f"{sum(one.is_completed for one in outcomes)} of {len(outcomes)} runs completed.\n\n{as_markdown(table)}"


def name_of(number: int, parameters: Mapping[str, Any]) -> str:
    """Return what a run of a batch is called: its place, its preset, and the folder of its images."""
    folder = str(parameters.get("data_path", "")).rstrip("/").rpartition("/")[2]
    return " ".join(part for part in (f"{number}", str(parameters.get("preset", PRESET)), folder) if part)


def _outcome(number: int, parameters: dict[str, Any]) -> Outcome:
    """Do a run as a task, whose failure is told and stops nothing."""
    name, began, asked = name_of(number, parameters), time.monotonic(), list[UUID]()

    @task(name="run", task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
    def run() -> None:
        with get_client(sync_client=True) as client:
            asked.append(_ask(client, name, parameters))
            _do(client, asked[0])

    state: State[None] = run(return_state=True)
    message = (state.message or "") if not state.is_completed() else ""
    seconds = time.monotonic() - began
    return Outcome(name, state.name or "", seconds, _without_prefix(message), str(asked[0]) if asked else "")


def _ask(client: SyncPrefectClient, name: str, parameters: dict[str, Any]) -> UUID:
    """Return a new run of the pipeline, nested in this task; ServerError where the server refuses it."""
    try:
        deployment = client.read_deployment_by_name(PIPELINE_DEPLOYMENT).id
        context = TaskRunContext.get()
        run = client.create_flow_run_from_deployment(
            deployment,
            parameters=parameters,
            state=Pending(),  # a scheduled one would be taken up by a worker
            name=name,
            parent_task_run_id=context.task_run.id if context else None,
        )
    except ObjectNotFound:
        raise ServerError(
            f"the server has no deployment {PIPELINE_DEPLOYMENT!r}: 'taskdistill up' brings all of them there"
        ) from None
    except PrefectHTTPStatusError as error:
        raise ServerError(f"the server does not take this run: {_detail(error)}") from None
    return run.id


def _do(client: SyncPrefectClient, run: UUID) -> None:
    """Do a run; RunsFailedError where it does not complete."""
    code = run_in_a_process(run)
    state = client.read_flow_run(run).state
    if state is None or not state.is_final():
        state = Crashed(message=f"Its process ended with exit code {code} and told nothing; Retry goes on from there.")
        client.set_flow_run_state(run, state, force=True)
    if not state.is_completed():
        raise RunsFailedError(f"{state.name}: {_without_prefix(state.message or '')}")


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def _without_prefix(message: str) -> str:
    """Return what an error says, without what Prefect writes before it."""
    return re.sub(r"^(Flow|Task) run encountered an exception: (\w+: )?", "", message)
