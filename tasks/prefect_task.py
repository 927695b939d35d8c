"""A stage as a Prefect task: the only file in this package that knows Prefect.

The store decides whether there is work to do, so Prefect neither caches nor keeps results: its cache was seen
returning paths of deleted folders. A task hands back a reference and nothing else.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
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
    last, pause, artifacts = time.monotonic(), PROGRESS_SECONDS, list[Any]()
    logged, pace = time.monotonic(), Pace()

    def show(share: float, text: str) -> None:
        with contextlib.suppress(httpx.HTTPError):  # a server that is away must not stop hours of work
            if artifacts:
                update_progress_artifact(artifacts[0], share, description=text)
            else:
                artifacts.append(create_progress_artifact(share, key=f"progress-{step}", description=text))

    def on_progress(unit: str, done: int, total: int) -> None:
        nonlocal last, pause, logged
        left = time_left(pace.seconds_left(unit, done, total))
        said = f"{step}: {done} of {total} {unit}{left and f', {left}'}"
        if time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            log.info("%s", said)
        if (began := time.monotonic()) - last >= pause:
            show(100 * done / total, said)
            last = time.monotonic()
            pause = max(PROGRESS_SECONDS, (last - began) / PROGRESS_SHARE)

    yield on_progress
    if artifacts:
        show(100.0, f"{step}: done")


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
