"""Several runs one after the other, each on its own whatever becomes of the others; made for schedules.

Each is a run of the deployment `distillation`: with its own page, and its own Retry. It is done here, in a process of
its own that lives no longer than the batch's: one that waited in a queue of the work pool would wait for the place that
the batch has.
"""

import contextlib
import logging
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
from prefect import Task, flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed, Failed, Pending
from pydantic import Field
from rich.table import Table

from taskdistill.configs.base import Settings
from taskdistill.configs.errors import UserError
from taskdistill.flows.birds import PRESET
from taskdistill.flows.deployed.forms import taking
from taskdistill.flows.deployed.nested_run import run_in_a_process
from taskdistill.flows.deployed.patience import is_passing, patiently
from taskdistill.flows.deployed.server import PIPELINE_DEPLOYMENT
from taskdistill.flows.deployed.short_form import filled_in
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.tasks.prefect_task import show_logs_in_ui

log = logging.getLogger(__name__)

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
    with get_client(sync_client=True) as client:
        outcomes = [_outcome(client, number, parameters) for number, parameters in enumerate(form.runs, start=1)]
    patiently(partial(create_markdown_artifact, summary(outcomes), key=REPORT, description="What became of each run"))
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


def _outcome(client: SyncPrefectClient, number: int, parameters: dict[str, Any]) -> Outcome:
    """Do a run; what becomes of it is told, and stops nothing."""
    name, began, run = name_of(number, parameters), time.monotonic(), ""
    try:
        run = _ask(client, number, name, parameters)
        state = _done(client, UUID(run))
        told = state.name or "", "" if state.is_completed() else _without_prefix(state.message or "")
    except (httpx.HTTPError, ObjectNotFound) as error:
        told = "Lost", f"the server was asked about it, and {_detail(error)}"
        if isinstance(error, httpx.HTTPStatusError) and not is_passing(error):
            told = "Refused", _without_prefix(_detail(error))
    log.info("%s: %s", name, " ".join(told))
    return Outcome(name, told[0], time.monotonic() - began, told[1], run)


def _ask(client: SyncPrefectClient, number: int, name: str, parameters: dict[str, Any]) -> str:
    """Return the id of a new run of the pipeline, nested in this one."""
    context = FlowRunContext.get()
    parent = None
    deployment = patiently(partial(client.read_deployment_by_name, PIPELINE_DEPLOYMENT)).id
    if context and context.flow_run:
        # What stands for it in the graph of this run; its state follows that of the nested run.
        key = f"{number}-{context.flow_run.run_count}"
        stand_in: Task[[], None] = Task(fn=lambda: None, name=name)
        create = partial(client.create_task_run, stand_in, context.flow_run.id, key, name=name, state=Pending())
        parent = patiently(create).id
    # A scheduled one would be taken up by a worker. Asked for again, it is the same run.
    how: dict[str, Any] = {"name": name, "parent_task_run_id": parent, "state": Pending()}
    how["idempotency_key"] = str(uuid4())
    try:
        create_run = partial(client.create_flow_run_from_deployment, deployment, parameters=parameters, **how)
        return str(patiently(create_run).id)
    except PrefectHTTPStatusError as error:
        if parent and not is_passing(error):
            patiently(partial(client.set_task_run_state, parent, Failed(message=_detail(error)), force=True))
        raise


def _done(client: SyncPrefectClient, run: UUID) -> State[Any]:
    """Do a run and return its last state."""
    try:
        code = run_in_a_process(run, lambda: _is_cancelling(client, run))
        end = f"Its process ended with exit code {code} and told nothing; Retry goes on from there."
    except OSError as error:  # such as for want of memory
        end = f"Its process could not be started ({error}); Retry starts it."
    state = patiently(partial(client.read_flow_run, run)).state
    if state is not None and state.is_cancelling():
        state = Cancelled(message="Its process was ended; the batch goes on with the next run.")
    elif state is None or not state.is_final():
        state = Crashed(message=end)
    else:
        return state
    patiently(partial(client.set_flow_run_state, run, state, force=True))
    return state


def _is_cancelling(client: SyncPrefectClient, run: UUID) -> bool:
    with contextlib.suppress(httpx.HTTPError):  # the server is away, or its database: the run goes on
        state = client.read_flow_run(run).state
        return state is not None and state.is_cancelling()
    return False


def _detail(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(error.response.json()["detail"])
    return str(error) or type(error).__name__


def _without_prefix(message: str) -> str:
    """Return what an error says, without what Prefect writes before it."""
    return re.sub(r"^(Error creating flow run: |Flow run encountered an exception:? (\w+: )?)", "", message)
