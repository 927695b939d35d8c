"""A worker whose runs begin at once, as the process of the next one is there before it is asked for."""

import abc
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import anyio
from anyio.abc import Process, TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.flows import load_flow_from_flow_run
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle
from prefect.settings import get_current_settings
from prefect.workers.base import BaseWorkerResult
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from taskdistill.flows.operation.outage import LastingWorker, let_last
from taskdistill.flows.operation.prefect_environment import inherited
from taskdistill.flows.operation.spare import NO_RUN, RUN_ID
from taskdistill.flows.operation.stopping import HANDED_OVER, INTERRUPTED, RUN_SECONDS

FILL_SECONDS = 10.0
"""After a run has begun, until the process of the next is started: beside it, it would take a core from a short one."""


class WarmWorker(LastingWorker, abc.ABC):
    """Runs the flow's process itself, started ahead of time. Prefect would put another before it, which installs
    dependencies we do not have, takes seconds, and after a crash finds Prefect's module `storage` where our package is
    meant. Abstract, as Prefect would register it in place of its own.
    """

    _spares: "_Spares"

    async def __aenter__(self) -> "WarmWorker":
        self._spares = _Spares()
        await super().__aenter__()
        let_last(self._runner._cancelling_observer, self.outage)
        await self._spares.fill()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await super().__aexit__(*error)
        finally:
            await self._spares.close()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Do what Prefect's own worker does, with a process of ours; RuntimeError where that could not be started."""
        with tempfile.TemporaryDirectory(suffix="prefect") as folder:
            async with FlowRunExecutorContext() as context:
                let_last(context._observer, self.outage)
                variables = {key: text for key, text in configuration.env.items() if text is not None}
                starter = _Starter(self._spares, folder, variables, context.control_channel)
                executor = context.create_executor(
                    flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
                )
                execution = await executor.submit(task_status=_AsPid(task_status))
        if execution is None or execution.status_code is None:
            raise RuntimeError("the process of the flow run could not be started")
        return ProcessWorkerResult(status_code=execution.status_code, identifier=str(execution.handle.pid))

    async def _submit_run_and_capture_errors(
        self, flow_run: FlowRun, task_status: TaskStatus[int | Exception] | None = None
    ) -> BaseWorkerResult | Exception:
        """Forget, of a run that ends while the worker goes on, that it was interrupted."""
        result = await super()._submit_run_and_capture_errors(flow_run, task_status)
        INTERRUPTED.discard(flow_run.id)
        return result


class _AsPid(TaskStatus[ProcessHandle]):
    """Tells the worker, which wants a number, of the process that the executor has started."""

    def __init__(self, worker: TaskStatus[int] | None) -> None:
        self._worker = worker

    def started(self, value: ProcessHandle | None = None) -> None:
        if self._worker and value and value.pid:
            self._worker.started(value.pid)


class _Starter:
    """Hands a run to a process; what Prefect's executor asks for."""

    def __init__(self, spares: "_Spares", folder: str, variables: Mapping[str, str], control: ControlChannel) -> None:
        self._spares, self._folder, self._variables, self._control = spares, folder, variables, control

    async def start(
        self, flow_run: FlowRun, task_status: TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start it, say which process it is, and wait for its end."""
        of_the_run = {**_environment(), **self._variables, **self._told_of_its_end(flow_run), RUN_ID: str(flow_run.id)}
        process = await self._spares.hand_over({"environment": of_the_run, "folder": self._folder})
        HANDED_OVER[process.pid] = flow_run.id
        try:
            task_status.started(ProcessHandle(process))
            await process.wait()
        except asyncio.CancelledError:
            INTERRUPTED.add(flow_run.id)
            raise
        finally:
            await _end(process)
            del HANDED_OVER[process.pid]
        await self._spares.fill()

    def _told_of_its_end(self, flow_run: FlowRun) -> dict[str, str]:
        """Return the variables by which a run is told that it is cancelled, and the worker of how it ended."""
        told = {"PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false"}
        with contextlib.suppress(RuntimeError):  # no port could be had: then it is ended by a signal
            port, token = self._control.register(flow_run.id)
            told |= {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        return told


class _Spares:
    """The process that waits for the next run."""

    def __init__(self) -> None:
        self._waiting: Process | None = None
        self._filling: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._one_fills = asyncio.Lock()

    async def fill(self) -> None:
        """See to it that one waits."""
        async with self._one_fills:
            if self._waiting is None and not self._is_closed:
                self._waiting = await _started()
        if self._is_closed:  # meanwhile
            await self.close()

    async def hand_over(self, run: Mapping[str, object]) -> Process:
        """Return the process of a run, which now begins."""
        process, self._waiting = self._waiting, None
        line = json.dumps(run).encode() + b"\n"
        if process is None or not await _told(process, line):
            process = await _started()
            await _told(process, line)
        later = asyncio.ensure_future(self._fill_later())
        self._filling.add(later)
        later.add_done_callback(self._filling.discard)
        return process

    async def _fill_later(self) -> None:
        await asyncio.sleep(FILL_SECONDS)
        await self.fill()

    async def close(self) -> None:
        """End what waits."""
        self._is_closed = True
        for later in self._filling:
            later.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting:
            await _end(waiting)


async def _started() -> Process:
    """Start a process that waits for a run. It prints where its worker does, and ends with it."""
    name, _, value = NO_RUN.partition("=")
    command = [sys.executable, "-P", "-m", "taskdistill.flows.operation.child", "taskdistill.flows.operation.spare"]
    return await anyio.open_process(
        command, env={**_environment(), name: value}, stdin=subprocess.PIPE, stdout=None, stderr=None
    )


async def _told(process: Process, line: bytes) -> bool:
    """Hand a process its run; whether it was there to take it."""
    assert process.stdin
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.send(line)
        await process.stdin.aclose()
        return process.returncode is None
    return False


def _environment() -> dict[str, str]:
    """Return the variables of this process, with Prefect's settings as they are now."""
    return inherited(get_current_settings().to_environment_variables(exclude_unset=True))


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with anyio.move_on_after(RUN_SECONDS, shield=True):  # then it is killed
        await process.aclose()
