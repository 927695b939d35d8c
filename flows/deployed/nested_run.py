"""A flow run in a process of its own, which lives no longer than the one that started it."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from uuid import UUID

from prefect.settings import get_current_settings

END_SECONDS = 6.0
"""Time for a run to end by itself, before it is killed."""
LOOK_SECONDS = 2.0


def run_in_a_process(run: UUID, is_cancelling: Callable[[], bool]) -> int:
    """Do a flow run and return how its process ended, as subprocess has it; one that is being cancelled is ended.

    `is_cancelling` is asked now and then: no worker watches over such a run.
    """
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "taskdistill.flows.deployed.nested_run"],
        env={**_ours(), **settings, "PREFECT__FLOW_RUN_ID": str(run)},
        stdin=subprocess.PIPE,
        start_new_session=True,  # what is sent to the group of the batch comes by way of the batch
    )
    try:
        while process.poll() is None and not is_cancelling():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=LOOK_SECONDS)
    finally:
        _end(process)
    return process.returncode


def _ours() -> dict[str, str]:
    """Return our environment without what was meant for our own run, such as the way to be told to cancel."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that is still there to end, then kill it."""
    assert process.stdin
    process.stdin.close()  # at which it ends by itself
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Run Prefect's engine for the run that the environment names, until the pipe of who started this is closed."""
    threading.Thread(target=_end_with_who_started_this, daemon=True).start()
    runpy.run_module("prefect.engine", run_name="__main__")


def _end_with_who_started_this() -> None:
    while os.read(0, 1024):  # the kernel closes the pipe at any death
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
