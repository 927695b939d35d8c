"""The faults, each made for real in the middle of a run; what lasts is mended when the run is over."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import psutil
from prefect.client.schemas.actions import VariableCreate

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.upkeep import discard
from tests.fault_matrix.site import Site
from tests.fault_matrix.works import Work
from tests.flows.local_server import START_SECONDS, until
from tests.storage.artifacts import flip_a_bit

LOCKED_SECONDS = 25.0
AWAY_SECONDS = 180.0
"""Longer than Prefect's client asks again by itself, and than a run may show no life."""
SLOWED_SECONDS = 1.0

Strike = Callable[[Site, Work, UUID], AbstractContextManager[list[ArtifactRef]]]
"""What goes wrong lasts as long as the context; it yields what was given up in mending it."""
Prepare = Callable[[Site, Work], AbstractContextManager[object]]


@contextmanager
def nothing(site: Site, work: Work) -> Iterator[None]:
    yield


class Fault(NamedTuple):
    """What goes wrong in which work; the name is that of a row."""

    name: str
    work: str
    strike: Strike
    prepare: Prepare = nothing
    """What must be so before the run starts."""
    says: str = ""
    """What the last state of the run says."""
    hits_at_once: bool = False
    """Whether it does not wait for the middle of a step."""
    needs_mount: bool = False
    is_only_in_full: bool = False
    """Whether it is left out where time is short: another row, or another test, comes near it."""


@contextmanager
def a_bit_is_flipped(site: Site, work: Work) -> Iterator[None]:
    flip_a_bit(site.store.path(work.steps["probe-student"].ref) / "head.safetensors")
    yield


@contextmanager
def a_step_raises(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    """It reads what is damaged, which is then discarded, as the message says."""
    given_up: list[ArtifactRef] = []
    yield given_up
    steps = site.served.tasks(run)
    assert {name for name, state in steps.items() if state == "Failed"} == {work.missing[0]}, steps
    given_up += discard(site.store, work.steps["probe-student"].ref, with_dependents=True)


@contextmanager
def flow_process_is_killed(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    site.processes_of(run)[0].kill()
    yield []


@contextmanager
def worker_is_killed(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    site.child("worker").kill()
    yield []


@contextmanager
def both_are_killed(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    kill_at_once([site.child("worker"), *site.processes_of(run)])
    yield []


def kill_at_once(processes: list[psutil.Process]) -> None:
    """Kill them so that none has time to tell of another."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def server_is_killed(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    site.child("server").kill()
    site.until_answered()
    yield []


@contextmanager
def server_is_away(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    """Killed, and started again only then; the run is to outlast it, as nothing else tells that it was left alone."""
    up, process = site.up, site.processes_of(run)[0]
    up.send(signal.SIGSTOP)
    try:
        site.child("server").kill()
        with slowed(process):
            time.sleep(AWAY_SECONDS)
    finally:
        up.send(signal.SIGCONT)
    site.until_answered()
    assert work.is_in_the_middle(site.store), "it was over before the server was back"
    yield []


@contextmanager
def slowed(process: psutil.Process) -> Iterator[None]:
    """Let a process have a twentieth of the time: as on a slow machine, its work lasts for minutes."""
    is_over = Event()

    def slow() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not is_over.wait(SLOWED_SECONDS / 20):
                process.suspend()
                is_over.wait(SLOWED_SECONDS)
                process.resume()

    with ThreadPoolExecutor(1) as thread:
        slowing = thread.submit(slow)
        try:
            yield
        finally:
            is_over.set()
            slowing.result()


@contextmanager
def machine_reboots(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    site.reboot()
    yield []


@contextmanager
def machine_is_stopped(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    """As Ctrl-C does it: the run is handed back, and continued by the next `up`."""
    running = site.processes_of(run)
    site.up.send(signal.SIGTERM)
    site.ended()
    assert not [process for process in running if process.is_running()]
    site.stop()
    site.start()
    yield []


@contextmanager
def the_same_is_started_again(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    state = work.here(site.store)
    assert state.is_completed(), state.message
    yield []


@contextmanager
def it_is_cancelled(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    from prefect.client.schemas.objects import State, StateType

    site.served.client.set_flow_run_state(run, State(type=StateType.CANCELLING))
    yield []


@contextmanager
def the_disk_is_full(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    with site.full_disk():
        yield []


@contextmanager
def the_database_is_locked(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    """So that whoever writes to the server gets no answer."""
    path = f"{site.environment['PREFECT_HOME']}/prefect.db"
    writes = partial(site.served.client.create_variable, VariableCreate(name="written_late", value=str(run)))
    with (
        ThreadPoolExecutor(1) as thread,
        contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database,
    ):
        database.execute("BEGIN IMMEDIATE")
        written = thread.submit(copy_context().run, writes)
        time.sleep(LOCKED_SECONDS)
        assert not written.done()
        database.execute("ROLLBACK")
        assert written.result().value == str(run)
    yield []


@contextmanager
def the_share_is_gone(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    site.share_gone()
    try:
        yield []
        refused = site.served.finish(site.served.start(work.deployment, work.parameters))
        assert refused.state.is_failed()
        assert "is not the store that this worker was started with" in refused.state.message
        assert not list(site.store.root.iterdir()), "something was made where the share is not mounted"
    finally:
        site.share_back()


@contextmanager
def with_another_worker(site: Site, work: Work) -> Iterator[None]:
    with site.another_worker("other"):
        yield


@contextmanager
def one_of_two_workers_is_killed(site: Site, work: Work, run: UUID) -> Iterator[list[ArtifactRef]]:
    """The one that was joined, when it has made something."""

    def its_run() -> Any:
        (worker,) = site.another
        made = {int(unit.split("/")[-3]) + unit.startswith("outputs.zarr/augmented") for unit in work.units(site.store)}
        return [
            child
            for child in site.spans(work.hit)
            if child.state.is_running()
            and psutil.Process(int(child.infrastructure_pid)).ppid() == worker.pid
            and made & set(child.parameters["numbers"])
        ]

    until(its_run, seconds=START_SECONDS, log=site.served.log)
    site.another[0].kill()
    yield []


FAULTS = (
    Fault(
        "a step raises",
        "pipeline",
        a_step_raises,
        a_bit_is_flipped,
        says="discard",
        hits_at_once=True,
        is_only_in_full=True,
    ),
    Fault("the run's process is killed", "pipeline", flow_process_is_killed, is_only_in_full=True),
    Fault("the worker is killed", "pipeline", worker_is_killed, is_only_in_full=True),
    Fault("worker and run are killed at once", "pipeline", both_are_killed, is_only_in_full=True),
    Fault("the server is killed in training", "pipeline", server_is_killed, is_only_in_full=True),
    Fault("the server is away for 3 minutes", "long pipeline", server_is_away, is_only_in_full=True),
    Fault("the database is locked for 25 s", "pipeline", the_database_is_locked, is_only_in_full=True),
    Fault("the same run is started again meanwhile", "pipeline", the_same_is_started_again, is_only_in_full=True),
    Fault("cancelled in training", "pipeline in two slots", it_is_cancelled, is_only_in_full=True),
    Fault("cancelled in generate", "generate", it_is_cancelled, is_only_in_full=True),
    Fault(
        "the disk is full",
        "pipeline",
        the_disk_is_full,
        says="the disk is full",
        needs_mount=True,
        is_only_in_full=True,
    ),
    Fault(
        "the store's share is gone, and back",
        "pipeline",
        the_share_is_gone,
        says="is not there",
        needs_mount=True,
        is_only_in_full=True,
    ),
    Fault(
        "one of two workers is killed in a fan-out",
        "extract",
        one_of_two_workers_is_killed,
        with_another_worker,
        is_only_in_full=True,
    ),
    Fault("the machine reboots", "pipeline", machine_reboots),
    Fault("`up` is stopped (Ctrl-C)", "pipeline", machine_is_stopped, is_only_in_full=True),
)
