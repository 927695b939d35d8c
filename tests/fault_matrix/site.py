"""A machine that things happen to: `taskdistill up` for one run at a time, and a store on a small disk of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from taskdistill.flows.operation.processes import Process
from taskdistill.flows.operation.state import StateFolder
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.local_server import (
    START_SECONDS,
    Served,
    asked,
    children_of,
    command_line,
    free_port,
    machine,
    process,
    refill,
    until,
)

DISK_MB = 1024
"""Of memory, and only where something lies there; a run asks for some hundred before it begins."""
RUN_ID = "PREFECT__FLOW_RUN_ID"


class Site:
    """Its store is a folder that is mounted, as a share would be, where this user may mount; else a plain folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ArtifactStore(folder / "store")
        self._disk, self._port = folder / "disk", free_port()
        self._running, self._mounts = ExitStack(), ExitStack()
        self.environment: dict[str, str] = {}
        self.served: Served
        self.another: list[psutil.Process] = []
        """Workers that were joined."""

    # --- the disk ------------------------------------------------------------------------------------------------

    def mount(self) -> None:
        self._disk.mkdir()
        self.store.root.mkdir()
        self.can_mount = _succeeds("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self._disk))
        if self.can_mount:
            self._mounts.callback(_succeeds, "umount", "--lazy", str(self._disk))
            (self._disk / "store").mkdir()
            self.share_back()
            self._mounts.callback(self.share_gone)

    def share_gone(self) -> None:
        """Take the store's folder away, as a file server does that is gone; what is open stays open."""
        _succeeds("umount", "--lazy", str(self.store.root))

    def share_back(self) -> None:
        assert _succeeds("mount", "--bind", str(self._disk / "store"), str(self.store.root))

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let the disk of the store be as small as what is on it."""
        used_kb = -(-shutil.disk_usage(self._disk).used // 1024)
        self._resize(f"{used_kb}k")
        try:
            yield
        finally:
            self._resize(f"{DISK_MB}m")

    def _resize(self, size: str) -> None:
        assert _succeeds("mount", "-o", f"remount,size={size}", str(self._disk))

    # --- the machine ---------------------------------------------------------------------------------------------

    def start(self, *options: str) -> None:
        """Bring everything up, and ask its server from now on, also in flows of this process."""
        self.environment = self._running.enter_context(machine(self.folder, "--runs", "1", *options, port=self._port))
        client = self._running.enter_context(asked(self.environment))
        self.served = Served(client, self.store, self.folder / "state" / "worker.log")

    def stop(self) -> None:
        self._running.close()

    def close(self) -> None:
        self.stop()
        self._mounts.close()

    @property
    def state(self) -> StateFolder:
        return StateFolder(Path(self.environment["TASKDISTILL_HOME"]))

    @property
    def up(self) -> Process:
        """The process of `up`, which is running."""
        running = self.state.running()
        if running is None:
            raise RuntimeError(f"{self.state.path} does not tell which process is up")
        return running.up

    def child(self, name: str) -> psutil.Process:
        """Return the server, or the worker, of `up`."""
        return psutil.Process(children_of(self.environment)[name])

    def ended(self) -> None:
        """Wait until `up` has ended."""
        until(lambda: not self.state.is_held(), seconds=START_SECONDS, log=self.folder / "up.log")

    def until_answered(self) -> None:
        """Wait until the server is back."""
        import httpx

        def is_back() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return bool(self.served.client.hello().is_success)
            return False

        until(is_back, seconds=START_SECONDS, log=self.folder / "up.log")

    def reboot(self) -> None:
        """Kill all there is of it at once, and bring it up again."""
        everything = [process.pid for process in self.processes()]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none sees another die
            for pid in everything:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.ended()
        self.stop()
        self.start()

    @contextmanager
    def another_worker(self, name: str) -> Iterator[None]:
        """Join a worker for parts of stages, as another machine with a GPU would."""
        log = self.folder / f"{name}.log"
        before = self._online()
        with process(command_line(self.folder, "worker", "--queue", "gpu"), self.environment, log) as started:
            until(lambda: self._online() - before or started.poll() is not None, seconds=START_SECONDS, log=log)
            assert started.poll() is None, log.read_text()
            self.another = [psutil.Process(started.pid)]
            yield
            self.another = []

    def _online(self) -> set[str]:
        from taskdistill.flows.deployed.server import online_workers

        return {worker.name for worker in online_workers(self.served.client)}

    # --- what there is -------------------------------------------------------------------------------------------

    def refill(self, source: Path) -> None:
        refill(self.store, ArtifactStore(source))

    def copied(self, name: str) -> ArtifactStore:
        """A copy of the store as it is now."""
        shutil.copytree(self.store.root, self.folder / name)
        return ArtifactStore(self.folder / name)

    def processes(self) -> list[psutil.Process]:
        """Whatever was started for this store, by `up` or by what it started."""
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                if each.environ().get("TASKDISTILL_STORE") == str(self.store.root):
                    found.append(each)
        return found

    def left_over(self, runs: Iterable[UUID]) -> list[str]:
        """Command lines of processes that make one of these runs, or that nobody keeps."""
        up, ours = psutil.Process(self.up.pid), {str(run) for run in runs}
        kept = {up.pid, *(each.pid for each in up.children(recursive=True))}
        found = []
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if each.pid not in kept or each.environ().get(RUN_ID) in ours:
                    found.append(" ".join(each.cmdline()))
        return found

    def going_on(self) -> dict[str, str]:
        """Runs, and steps of runs, that the server takes for going on: name -> state."""
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
            TaskRunFilter,
            TaskRunFilterState,
            TaskRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType

        states = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.SCHEDULED]
        chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
        steps = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=states)))
        found = [
            *self.served.client.read_flow_runs(flow_run_filter=chosen),
            *self.served.client.read_task_runs(task_run_filter=steps),
        ]
        # The server writes a step before its state, for a moment.
        return {run.name: run.state.name if run.state else "not said yet" for run in found}

    def spans(self, ref: ArtifactRef) -> list[Any]:
        """Runs that were asked for parts of an artifact."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

        chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[str(ref)]))
        return list(self.served.client.read_flow_runs(flow_run_filter=chosen))

    def processes_of(self, run_id: UUID) -> list[psutil.Process]:
        """The process of a run and all it has started."""
        run: Any = self.served.client.read_flow_run(run_id)
        first = psutil.Process(int(run.infrastructure_pid))
        return [first, *first.children(recursive=True)]


def _succeeds(*command: str) -> bool:
    return sys.platform == "linux" and not subprocess.run(command, check=False, capture_output=True).returncode
