"""A process that does steps for the one that started it, one after another: a line of JSON in, lines of JSON out.

    in    {"stage", "config", "inputs", "runtime", "store", "noted", "turns"}
    out   {"progress": [unit, done, total]}    {"log": [logger, level, text]}
          and in the end one of   {"made": reference}    {"failed": text}    {"fault": traceback}

It lives no longer than who started it: a thread waits at the pipe, which the kernel closes at any death. What was
begun is a draft in the store then, which the next run continues.
"""

import json
import logging
import os
import queue
import signal
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from taskdistill.configs.errors import UserError
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.ending.os_errors import explained
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.child_process import LogMessages, Progress, Send
from taskdistill.tasks.stage import Stage, execute
from taskdistill.tasks.turns import taking_turns
from taskdistill.tasks.visible_gpus import visible_gpus


def main(gpus: str, stages: Sequence[Stage[Any]] = STAGES) -> None:
    """Do what is asked on stdin until it is closed; `gpus` are the numbers of those to use, as in "0,1"; "" for all
    there are.
    """
    _choose_gpus(gpus)
    # A signal from the terminal is meant for who started this, and ends what that one wants ended.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    requests, send = _pipes()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogMessages(send)])
    known = {stage.name: stage for stage in stages}
    while True:
        send(_answer(requests.get(), known, send))


def _answer(request: dict[str, Any], stages: dict[str, Stage[Any]], send: Send) -> dict[str, Any]:
    try:
        return {"made": str(_execute(request, stages[request["stage"]], send))}
    except UserError as error:
        return {"failed": str(error)}
    except BaseException as error:  # told to who asked, who raises it
        words = explained(error) if isinstance(error, OSError) else ""
        return {"failed": words} if words else {"fault": traceback.format_exc()}


def _execute(request: dict[str, Any], stage: Stage[Any], send: Send) -> ArtifactRef:
    store = ArtifactStore(Path(request["store"]))
    with taking_turns(store, request["turns"]):
        return execute(
            stage,
            stage.config_type.model_validate(request["config"]),
            {role: ArtifactRef.parse(source) for role, source in request["inputs"].items()},
            store=store,
            runtime=RuntimeConfig.model_validate(request["runtime"]),
            on_progress=Progress(send),
            noted=request["noted"],
        )


def _pipes() -> tuple["queue.SimpleQueue[dict[str, Any]]", Send]:
    """Take stdin and stdout for requests and reports; whatever a library prints goes to stderr."""
    # The pipes get other numbers: a library that reads stdin or prints to stdout cannot take or spoil a message.
    source, target = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_take_requests, args=(source, requests), daemon=True).start()
    one_at_a_time = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with one_at_a_time:  # threads of a stage may log
            target.write(json.dumps(message) + "\n")
            target.flush()

    return requests, send


def _take_requests(source: IO[str], requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in source:
        requests.put(json.loads(line))
    os._exit(1)  # who asked is gone, or wants nothing more


def _choose_gpus(numbers: str) -> None:
    """Let torch, which is not imported yet, see these GPUs of those that this process may use."""
    if numbers:
        visible = visible_gpus()
        chosen = [visible[int(number)] if visible else number for number in numbers.split(",")]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
