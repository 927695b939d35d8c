"""Processes that do steps, one for each slot, started when a slot is first used, and ended with the run.

Each does one step after another (`flows.pipeline.step_process`), so that torch is imported once a slot and not once a
step. Nothing is pickled: a stage is asked for by its name, with settings and references as JSON.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskdistill.configs.errors import UserError
from taskdistill.configs.places import portable
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.child_process import how_it_ended, log_again
from taskdistill.tasks.stage import OnProgress, content_digests_of

ENTRY = "taskdistill.flows.pipeline.step_process"
_ROOT = str(Path(__file__).parents[3])
_START = (
    "import sys, importlib; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]).main(sys.argv[3])"
)
"""Finds the program where it is, whatever folder this is, and looks for nothing in that folder (-P)."""

Process = subprocess.Popen[str]
_OVER = "the run is over"
_ANSWERS = {"made", "failed", "fault"}


class StepError(UserError):
    """A step could not be done; the message is that of the error in its process."""


class StepKilledError(UserError):
    """The process of a step ended before the step; the message names the signal."""


class StepFaultError(RuntimeError):
    """A step met a fault of the program; the message is the traceback of its process."""


@dataclass
class _Slot:
    gpu: str
    process: Process | None = None
    is_at_work: bool = False
    """From a request to its answer."""


class StepProcesses:
    """A slot for each of `gpus`, the number of the GPU it sees. Used as a context, at whose end no process is left."""

    def __init__(
        self,
        gpus: Sequence[str],
        store: ArtifactStore,
        runtime: RuntimeConfig,
        noted: Callable[[PlannedStep], Mapping[str, Any]],
        turns: Sequence[str] = (),
    ) -> None:
        """A slot of the GPU "" sees all there are. `turns` are the kinds of device for whose turn steps wait
        (`tasks.turns`), and `noted` returns what the manifest of a step's artifact is to say of the run.
        """
        self._store, self._runtime, self._noted, self._turns = store, runtime, noted, turns
        self._free = [_Slot(gpu) for gpu in reversed(gpus)]
        self._slots = tuple(self._free)
        self._changing = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill what is left: a draft may be left at any moment, and an idle process has nothing to finish."""
        with self._changing:  # a thread that starts a process now would start one that nobody ends
            self._is_closed = True
        for slot in self._slots:
            if slot.process:
                slot.process.kill()
                slot.process.wait()
        for slot in self._free:  # of the others a thread is still reading, to the end
            if slot.process:
                _close(slot.process)

    def execute(self, step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        """Do a step in a process that has none to do; called by as many threads at once as there are slots.

        Raises StepError, StepKilledError or StepFaultError.
        """
        ref = step.stage.reference(step.config, step.inputs, content_digests_of(step.config, self._store))
        if ref in self._store:
            return ref  # known without a process, which would import torch to find that there is nothing to do
        # There are as many slots as threads that ask, so one is free; pop and append of a list need no lock.
        slot = self._free.pop()
        try:
            return self._ask(slot, step, on_progress)
        finally:
            # Whoever was told of the progress, or of a log, failed: the process is at work still, and what it says of
            # this step would be taken for an answer to the next request.
            if slot.is_at_work and slot.process:
                slot.process.kill()
                slot.process.wait()
                _close(slot.process)
            slot.is_at_work = False
            self._free.append(slot)  # the last used is the next: a slot that is never needed starts no process

    def _process_of(self, slot: _Slot) -> Process:
        with self._changing:
            if self._is_closed:
                raise StepKilledError(_OVER)
            # One that died with its step is replaced: the next step of this slot is another matter.
            if slot.process is None or slot.process.poll() is not None:
                command = [sys.executable, "-P", "-c", _START, _ROOT, ENTRY, slot.gpu]
                slot.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            return slot.process

    def _ask(self, slot: _Slot, step: PlannedStep, on_progress: OnProgress) -> ArtifactRef:
        process = self._process_of(slot)
        request = {
            "stage": step.stage.name,
            "config": portable(step.config),
            "inputs": {role: str(ref) for role, ref in step.inputs.items()},
            "runtime": self._runtime.within(step.name).model_dump(mode="json"),
            "store": str(self._store.root),
            "noted": dict(self._noted(step)),
            "turns": list(self._turns),
        }
        assert process.stdin
        assert process.stdout
        slot.is_at_work = True
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:  # it has just died: its exit code says of what
            raise self._died(slot, step, process) from None
        # Only messages come this way: what else a process prints goes to its stderr, which is ours.
        for line in process.stdout:
            if not line.endswith("\n"):  # it was killed in the midst of a message
                break
            message = json.loads(line)
            slot.is_at_work = not message.keys() & _ANSWERS
            match message:
                case {"progress": [unit, done, total]}:
                    on_progress(unit, done, total)
                case {"log": [name, level, text]}:
                    log_again(name, level, f"{step.name}: {text}")
                case {"made": reference}:
                    return ArtifactRef.parse(reference)
                case {"failed": text}:
                    raise StepError(text)
                case {"fault": text}:
                    raise StepFaultError(f"{step.name} met a fault of the program:\n{text}")
        raise self._died(slot, step, process)

    def _died(self, slot: _Slot, step: PlannedStep, process: Process) -> StepKilledError:
        slot.is_at_work = False
        _close(process)
        if self._is_closed:  # by ourselves, as when a run is stopped: want of memory had no part in it
            return StepKilledError(_OVER)
        slots = f"runtime.slots ({len(self._slots)} now)"
        return StepKilledError(f"{step.name} {how_it_ended(process.wait(), slots)}")


def _close(process: Process) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(BrokenPipeError):  # of a request that nobody will read
            pipe.close()
