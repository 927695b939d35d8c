"""Starting a machine: server, work pool, deployments and workers, each waited for; and stopping it again.

Workers are stopped before the server, which they tell what became of their runs.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_HOME

from taskdistill.flows.deployed.server import CPU_QUEUE, GPU_QUEUE, ServerError, worker_names
from taskdistill.flows.operation.database import check_database
from taskdistill.flows.operation.deploying import deploy
from taskdistill.flows.operation.pool import create_pool
from taskdistill.flows.operation.processes import Process, this_host
from taskdistill.flows.operation.server_access import address, answers, check_port, server_settings, tell_where
from taskdistill.flows.operation.shared_store import announce_store, check_locks, forget_store, known_id
from taskdistill.flows.operation.state import FOR_OWNER, OTHERS, Running, StateFolder
from taskdistill.flows.operation.stopping import OnStop
from taskdistill.flows.operation.supervisor import LOOK_SECONDS, Program, Supervisor
from taskdistill.flows.operation.zombies import end_zombies
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

SERVER = "server"
START_SECONDS = 600.0
"""A cold server on a busy machine needs minutes."""
SERVER_STOP_SECONDS = 20.0
WORKER_STOP_SECONDS = 25.0
"""Longer than a worker takes to hand back its runs."""


@dataclass(frozen=True)
class Wanted:
    """What `up` is asked for."""

    port: int
    gpus: list[str]
    """As CUDA_VISIBLE_DEVICES names them; none where spans are made on the CPU."""
    runs: int
    on_stop: OnStop
    database: str = ""
    """URL as Prefect reads it; "" for SQLite."""
    has_password: bool = True
    presets: Path | None = None
    is_new_store: bool = False
    """Whether the server's workers are to use another store than before."""

    @property
    def programs(self) -> list[Program]:
        """The workers: one for pipelines, and one for each GPU; without a GPU the first makes spans too."""
        queues = [CPU_QUEUE] if self.gpus else [CPU_QUEUE, GPU_QUEUE]
        of_gpus = [
            Program(f"worker-gpu{gpu}", self._arguments(GPU_QUEUE), {"CUDA_VISIBLE_DEVICES": gpu}, is_needed=False)
            for gpu in self.gpus
        ]
        return [Program("worker", self._arguments(*queues), {}), *of_gpus]

    def _arguments(self, *queues: str) -> list[str]:
        queue = "both" if len(queues) > 1 else queues[0]
        allowed = [] if self.has_password else ["--allow-open-server"]
        named = ["--queue", queue, "--runs", str(self.runs), "--on-stop", self.on_stop]
        return ["taskdistill.flows.cli", "worker", *named, *allowed]


@dataclass
class _Signals:
    """Those that asked for an end; the first is obeyed by and by, each further one sooner."""

    came: list[int] = field(default_factory=list)

    def take(self, number: int, _: Any) -> None:
        self.came.append(number)


class _StoppedEarlyError(Exception):
    """A signal came while everything was still being started."""


def bring_up(folder: StateFolder, wanted: Wanted, ready: Callable[[Running], None]) -> int:
    """Start everything, call `ready`, and watch over it until a signal comes; returns the exit code.

    Raises ServerError where something does not start, or ends again and again, or the server's store is another, and
    StoreError where the store is not fit for it. The caller holds the folder's lock.
    """
    end_leftovers(folder)
    store = ArtifactStore.from_env_for_children()
    if wanted.is_new_store or known_id(store):
        check_locks(store)  # before anything is started; what has no name may be a share that is not mounted
    check_port(wanted.port)
    if wanted.database:
        check_database(wanted.database)
    presets = str(wanted.presets or "")
    running = Running(Process.own(), wanted.port, str(store.root), wanted.on_stop, presets, {}, is_ready=False)

    def changed(children: dict[str, Process]) -> None:
        nonlocal running
        running = running._replace(children=children)
        folder.write(running)

    supervisor = Supervisor(folder, changed)
    with _noted_signals() as signals:
        try:
            _start(supervisor, folder, wanted, store, signals)
            running = running._replace(is_ready=True)
            folder.write(running)
            ready(running)
            while not signals.came:
                supervisor.watch(supervisor.names())
                time.sleep(LOOK_SECONDS)
        except _StoppedEarlyError:
            pass
        finally:
            try:
                _end_all(supervisor, wanted, signals)
            finally:
                supervisor.kill()
                folder.forget()
    return 128 + signals.came[0]


@contextmanager
def _noted_signals() -> Iterator[_Signals]:
    """Note signals that ask for an end; those that this process was started to ignore stay ignored, but not SIGTERM."""
    signals = _Signals()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, signals.take)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    supervisor: Supervisor, folder: StateFolder, wanted: Wanted, store: ArtifactStore, signals: _Signals
) -> None:
    """Start what there is, one after the other, each when what it needs answers; ServerError where it does not."""
    url = address(wanted.port)
    settings = server_settings(wanted.port, wanted.database, has_password=wanted.has_password)
    start = ["taskdistill.flows.operation.server", "server", "start", "--host", "127.0.0.1", "--port", str(wanted.port)]
    log.info("starting the server (its log: %s)", folder.log(SERVER))
    _close_database()
    # Its database holds the addresses that are told of failures. The files of workers may be for a group, in a store.
    supervisor.start(Program(SERVER, start, settings, umask=OTHERS))
    _wait(lambda: answers(url), SERVER, supervisor, signals)
    tell_where(settings)
    with _server_is_there(supervisor), get_client(sync_client=True) as client:
        if wanted.is_new_store:
            forget_store(client)
        announce_store(client, store, this_host())
        create_pool(client)
        log.info("bringing the deployments to the server (its log: %s)", folder.log("deploy"))
        deploy(client, folder, wanted.presets, lambda: _check_stop(signals))
        end_zombies(client, this_host(), 0.0)  # nobody has had time to show the server that he lives
        _check_stop(signals)
        for program in wanted.programs:
            log.info("starting the %s (its log: %s)", program.name, folder.log(program.name))
            supervisor.start(program)
        for program in wanted.programs:
            _wait(partial(_is_online, client, supervisor.pid(program.name)), program.name, supervisor, signals)


def _close_database() -> None:
    """Close one to others that was made before, in a folder that may not be ours: what SQLite adds has its rights."""
    for path in Path(PREFECT_HOME.value()).glob("prefect.db*"):
        path.chmod(FOR_OWNER)


@contextmanager
def _server_is_there(supervisor: Supervisor) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        how = "does not do what it is asked" if supervisor.is_alive(SERVER) else "ended while the rest was started"
        raise ServerError(f"the server {how} ({error}). The end of its log:\n{supervisor.last_lines(SERVER)}") from None


def _is_online(client: SyncPrefectClient, pid: int) -> bool:
    return any(name.host == this_host() and name.pid == pid for name in worker_names(client))


def _wait(happened: Callable[[], bool], name: str, supervisor: Supervisor, signals: _Signals) -> None:
    """Wait until the program of this name has done something, but no longer than all that was started lives."""
    deadline = time.monotonic() + START_SECONDS
    while not happened():
        _check_stop(signals)
        for each in supervisor.names():
            if not supervisor.is_alive(each):
                last = supervisor.last_lines(each)
                raise ServerError(f"the {each} ended while it was started. The end of its log:\n{last}")
        if time.monotonic() > deadline:
            raise ServerError(
                f"the {name} does not answer after {START_SECONDS / 60:.0f} minutes. The end of its log:\n"
                f"{supervisor.last_lines(name)}"
            )
        time.sleep(LOOK_SECONDS)


def _check_stop(signals: _Signals) -> None:
    if signals.came:
        raise _StoppedEarlyError


def _end_all(supervisor: Supervisor, wanted: Wanted, signals: _Signals) -> None:
    """End the workers, which finish their runs or hand them back, and then the server."""
    workers = [name for name in supervisor.names() if name != SERVER]
    log.info("stopping")
    supervisor.signal(signal.SIGTERM, workers)
    # Runs that are to be finished take as long as they take; a second signal hands them back.
    if wanted.on_stop == "finish" and len(signals.came) < 2:
        _wait_gone(supervisor, workers, None, signals, most=2)
        supervisor.signal(signal.SIGTERM, workers)
    most = 3 if wanted.on_stop == "finish" else 2
    _wait_gone(supervisor, workers, WORKER_STOP_SECONDS, signals, most=most)
    supervisor.signal(signal.SIGTERM, [SERVER])
    _wait_gone(supervisor, [SERVER], SERVER_STOP_SECONDS, signals, most=most)


def _wait_gone(
    supervisor: Supervisor, names: list[str], seconds: float | None, signals: _Signals, *, most: int
) -> None:
    """Wait until these programs have ended, so many signals came, or the time is over."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not supervisor.are_gone(names) and len(signals.came) < most:
        if SERVER not in names:  # workers tell it what became of their runs
            supervisor.watch([name for name in supervisor.names() if name == SERVER])
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(LOOK_SECONDS)


def end_leftovers(folder: StateFolder) -> None:
    """End what an `up` that was killed has left behind; the caller holds the folder's lock."""
    running = folder.running()
    children = list(running.children.values()) if running else []
    for number, seconds in ((signal.SIGTERM, WORKER_STOP_SECONDS), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        for child in children:
            child.send(number)
        while any(child.is_alive() for child in children) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
    folder.forget()
