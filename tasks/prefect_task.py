"""A stage as a Prefect task: the only file in this package that knows Prefect.

The store decides whether there is work to do, so Prefect neither caches nor keeps results: its cache was seen
returning paths of deleted folders. A task hands back a reference and nothing else.
"""

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.states import Completed

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.pace import Pace
from taskdistill.tasks.pace import words as time_left
from taskdistill.tasks.stage import OnProgress, Stage

log = logging.getLogger(__name__)

Make = Callable[[OnProgress], ArtifactRef]

PROGRESS_SECONDS = 2.0
LOG_SECONDS = 60.0
PROGRESS_SHARE = 0.05
"""Reports may take no more than this share of the time, however slow or far away the server is."""
PAUSE_SECONDS = 30.0
"""The longest pause: a report to a server that is away takes a minute, and would be followed by one of twenty."""
LAST_SECONDS = 10.0
"""For how long the end of the work waits for a report."""


def as_task(stage: Stage[Any], words: Callable[[ArtifactRef], str]) -> Callable[[str, Make], ArtifactRef]:
    """Return the stage as a task, called with the name of a step and what makes its artifact; its runs are named after
    the step, and their last state says what `words` say of the artifact.
    """

    @task(name=stage.name, task_run_name="{step}", cache_policy=NO_CACHE, persist_result=False)
    def run(step: str, make: Make) -> State[ArtifactRef]:
        with progress(step) as on_progress:
            ref = make(on_progress)
        return Completed(message=words(ref), data=ref)

    def made(step: str, make: Make) -> ArtifactRef:
        ref: ArtifactRef = run(step, make).result()
        return ref

    return made


@contextlib.contextmanager
def progress(step: str) -> Iterator[OnProgress]:
    """Show progress in the UI every other second, with the time left where it is known, and once a minute among the
    logs; what takes less time than that shows none.
    """
    artifacts, logged, pace = list[Any](), time.monotonic(), Pace()

    def send(share: float, text: str) -> None:
        if artifacts:
            update_progress_artifact(artifacts[0], share, description=text)
        else:
            artifacts.append(create_progress_artifact(share, key=f"progress-{step}", description=text))

    reports = Reports(send)

    def on_progress(unit: str, done: int, total: int) -> None:
        nonlocal logged
        left = time_left(pace.seconds_left(unit, done, total))
        said = f"{step}: {done} of {total} {unit}{left and f', {left}'}"
        if time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            log.info("%s", said)
        reports.show(100 * done / total, said)

    yield on_progress
    reports.end(f"{step}: done")


class Reports:
    """Has `send` tell the server how far the work is, from a thread of its own: the work does not wait for it.

    One report at a time: what is to be shown meanwhile is left out, and the next says more.
    """

    def __init__(self, send: Callable[[float, str], None]) -> None:
        """`send` takes how much is done, in percent, and a text; httpx.HTTPError is that of a server that is away."""
        self._send, self._is_shown = send, False
        self._thread: threading.Thread | None = None
        self._last, self._pause = time.monotonic(), PROGRESS_SECONDS

    def show(self, share: float, text: str) -> None:
        """Begin a report, where none is on its way and the pause is over."""
        if not self._is_on_its_way() and time.monotonic() - self._last >= self._pause:
            self._begin(share, text)

    def end(self, text: str) -> None:
        """Say that all is done, where anything was shown."""
        self._wait()
        if self._is_shown and not self._is_on_its_way():
            self._begin(100.0, text)
            self._wait()

    def _begin(self, share: float, text: str) -> None:
        # With the run that this is, which Prefect keeps in the context; a daemon, as no process stays for a report.
        send = partial(contextvars.copy_context().run, self._try, share, text)
        self._thread = threading.Thread(target=send, name="progress", daemon=True)
        self._thread.start()

    def _try(self, share: float, text: str) -> None:
        began = time.monotonic()
        with contextlib.suppress(httpx.HTTPError):  # a server that is away must not stop hours of work
            self._send(share, text)
            self._is_shown = True
        self._last = time.monotonic()
        self._pause = min(PAUSE_SECONDS, max(PROGRESS_SECONDS, (self._last - began) / PROGRESS_SHARE))

    def _is_on_its_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wait(self) -> None:
        if self._thread:
            self._thread.join(LAST_SECONDS)


class _IntoTheRun(logging.Handler):
    """Repeats what our packages log to the flow or task run it happens in, so that the UI shows it."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(MissingContextError):  # outside of a run, other handlers have it
            get_run_logger().log(record.levelno, "%s", record.getMessage())


def show_logs_in_ui() -> None:
    """Let the logs of our packages reach the UI; Prefect takes up no logger but its own unasked."""
    logger = logging.getLogger("taskdistill")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _IntoTheRun) for handler in logger.handlers):
        logger.addHandler(_IntoTheRun())
