"""What is wrong with the server, and with who works for it."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from taskdistill.configs.counting import counted
from taskdistill.flows.deployed.server import POOL, worker_names
from taskdistill.flows.operation.deploying import our_deployments, wanted_deployments
from taskdistill.flows.operation.finding import Finding
from taskdistill.flows.operation.notifications import AUTOMATION as NOTIFICATIONS
from taskdistill.flows.operation.pool import AUTOMATION, QUEUES
from taskdistill.flows.operation.processes import this_host
from taskdistill.flows.operation.shared_store import other_store, unheld_locks
from taskdistill.flows.operation.state import Running
from taskdistill.flows.operation.zombies import zombies
from taskdistill.storage.store import ArtifactStore

CLOCK_SECONDS = 5.0
"""Runs are started, and taken for dead, by the clock; a reply tells the server's to the second."""
_START = "taskdistill up"
_AGAIN = "taskdistill down; taskdistill up"
_OF_DEPLOYMENT = "deployment:"
"""How Prefect calls the limit of a deployment."""


def server_findings(store: ArtifactStore, running: Running | None) -> Iterator[Finding]:
    """Yield what is wrong with the server that is logged in to; `running` is the `up` of this machine, if there is one.

    Raises httpx.HTTPError where it does not do what it is asked.
    """
    with get_client(sync_client=True) as client:
        if (version := client.api_version()) != prefect.__version__:
            pin = f"pip install 'prefect=={version}'   (or, on the server's machine, {prefect.__version__})"
            yield Finding(f"the server is Prefect {version}, and this machine has {prefect.__version__}", pin)
        yield from clock_findings(client)
        yield from deployment_findings(client, running)
        yield from _pool(client)
        yield from _runs(client)
        yield from _slots(client)
        yield from _store(client, store)
        yield from _notifications(client)


def clock_findings(client: SyncPrefectClient) -> Iterator[Finding]:
    """Yield that the clocks here and at the server are apart; an address of this machine may be that of a tunnel."""
    before = time.time()
    reply = client.hello()
    after = time.time()
    if "date" not in reply.headers:
        return
    # The reply is of some moment between the two, cut to the second.
    then = parsedate_to_datetime(reply.headers["date"]).timestamp()
    apart = before - (then + 1) if then + 1 < before else min(after - then, 0.0)
    if abs(apart) > CLOCK_SECONDS:
        which = "ahead of" if apart > 0 else "behind"
        what = f"the clock of this machine is {abs(apart):.0f} s {which} the server's"
        yield Finding(what, "timedatectl set-ntp true   (on both)")


def deployment_findings(client: SyncPrefectClient, running: Running | None) -> Iterator[Finding]:
    """Yield deployments that are missing or paused, and those that are outdated, which only their own machine knows:
    forms offer presets of its folder.
    """
    presets = Path(running.presets) if running and running.presets else None
    existing = {each.name: each for each in our_deployments(client)}
    wanted = wanted_deployments(existing, presets)["deployments"]
    if missing := [each["name"] for each in wanted if each["name"] not in existing]:
        yield Finding(f"the server lacks deployments: {', '.join(missing)}", _AGAIN)
    outdated = [name for each in wanted if _is_outdated(existing.get(name := each["name"]), each["version"])]
    if running and outdated:
        yield Finding(f"the server has deployments of another version of this program: {', '.join(outdated)}", _AGAIN)
    for each in existing.values():
        if each.paused:
            mend = f"taskdistill prefect api POST /deployments/{each.id}/resume_deployment"
            yield Finding(f"the deployment {each.name} is paused: its schedules start nothing", mend)


def _is_outdated(found: DeploymentResponse | None, version: str) -> bool:
    return found is not None and found.version != version


def _notifications(client: SyncPrefectClient) -> Iterator[Finding]:
    found = client.read_automations_by_name(NOTIFICATIONS)
    if not found:
        yield Finding("nobody is told when a run of a schedule fails", "taskdistill notify --test", is_fault=False)
    elif not found[0].enabled:
        mend = f"taskdistill prefect automation resume --id {found[0].id}"
        yield Finding("nobody is told when a run fails: notifications are switched off", mend, is_fault=False)


def _pool(client: SyncPrefectClient) -> Iterator[Finding]:
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        yield Finding(f"the server has no work pool {POOL!r}", _AGAIN)
        return
    if pool.is_paused:
        yield Finding(f"the work pool {POOL!r} is paused", f"taskdistill prefect work-pool resume {POOL}")
    served = {queue for name in worker_names(client) for queue in name.slots}
    for queue in QUEUES:
        if queue not in served:
            mend = f"{_START}   (or taskdistill worker --queue {queue})"
            yield Finding(f"no worker is online that takes runs from the queue {queue!r}", mend)
        try:
            found = client.read_work_queue_by_name(queue, work_pool_name=POOL)
        except ObjectNotFound:
            yield Finding(f"the work pool {POOL!r} has no queue {queue!r}", _AGAIN)
            continue
        if found.is_paused:
            yield Finding(
                f"the queue {queue!r} is paused", f"taskdistill prefect work-queue resume {queue} --pool {POOL}"
            )
    automations = client.read_automations_by_name(AUTOMATION)
    if not automations:
        yield Finding("nothing ends runs whose machine died: the automation for it is gone", _AGAIN)
    elif not automations[0].enabled:
        mend = f"taskdistill prefect automation resume --id {automations[0].id}"
        yield Finding("nothing ends runs whose machine died: the automation for it is switched off", mend)


def _runs(client: SyncPrefectClient) -> Iterator[Finding]:
    for run, because in zombies(client, this_host()):
        state = run.state.name if run.state else "going on"
        # Any worker looks for them when it starts, and each half minute.
        yield Finding(f"the run {run.name} ({run.id}) is {state}, but {because}", f"{_START}   (a worker ends it)")


def _slots(client: SyncPrefectClient) -> Iterator[Finding]:
    """Yield limits of deployments that count more runs than there are."""
    held = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
        )
    )
    runs = client.read_flow_runs(flow_run_filter=held)
    for limit in client.read_global_concurrency_limits(limit=200, offset=0):
        if not limit.name.startswith(_OF_DEPLOYMENT):
            continue
        going_on = sum(str(run.deployment_id) == limit.name.removeprefix(_OF_DEPLOYMENT) for run in runs)
        if limit.active_slots > going_on:
            there_are = f"{counted(limit.active_slots, 'run')}, and {counted(going_on, 'is', 'are')} going on"
            what = f"the limit {limit.name} counts {there_are}"
            mend = f"taskdistill prefect global-concurrency-limit update {limit.name} --active-slots {going_on}"
            yield Finding(f"{what}: new ones wait for places that nobody has", mend)


def _store(client: SyncPrefectClient, store: ArtifactStore) -> Iterator[Finding]:
    if words := other_store(client, store):
        yield Finding(words, "export TASKDISTILL_STORE=...; taskdistill doctor")
    for name in unheld_locks(client, store):
        what = (
            f"the worker {name} of {name.host} is online, and the lock it holds in the store {store.root} is free here"
        )
        mend = f"grep {store.root.anchor} /proc/mounts   (NFS 4, without nolock or local_lock)"
        yield Finding(f"{what}: it has just died, or locks do not hold between hosts", mend)
