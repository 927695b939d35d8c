"""A server that is away, for minutes or hours: its workers and their runs go on, and ask again.

Prefect's own worker ends when its questions have failed some twelve times: after 41 s of a server whose database is
away, after 13 minutes of one that is down. With it would end its runs, which need no server to compute.
"""

import abc
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any
from uuid import UUID

import httpx
from prefect._internal.observers import FlowRunCancellingObserver
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessWorker

log = logging.getLogger(__name__)

Ask = Callable[[], Coroutine[Any, Any, None]]

SLOW_SECONDS = 20.0
"""Of an answer that took longer it is not known whether the server was there meanwhile: Prefect's client asks again by
itself, for up to a minute.
"""


class Outage:
    """Whether the server is away, said once when it begins and once when it is over."""

    def __init__(self) -> None:
        self.is_now = False

    @contextlib.contextmanager
    def outlasted(self) -> Iterator[None]:
        """Go on where the server does not do what is asked in the block."""
        try:
            yield
        except httpx.HTTPError as error:
            if not self.is_now:
                log.warning("the server is away (%s): what runs goes on, and it is asked again", _said(error))
            self.is_now = True
        else:
            if self.is_now:
                log.warning("the server is back")
            self.is_now = False


class Listening:
    """For how long the server has been there without a break, as far as who asks it now and then can tell."""

    def __init__(self) -> None:
        self._since: float | None = None

    @contextlib.contextmanager
    def asking(self) -> Iterator[float]:
        """Yield the seconds until now; begin anew where the block fails, or takes so long that the server may have been
        away meanwhile.
        """
        began, since = time.monotonic(), self._since
        self._since = None
        yield 0.0 if since is None else began - since
        ended = time.monotonic()
        self._since = ended if since is None or ended - began > SLOW_SECONDS else since


class LastingWorker(ProcessWorker, abc.ABC):
    """One that no failed question ends; abstract, as Prefect would register it in place of its own."""

    outage: Outage

    async def setup(self) -> None:
        self.outage = Outage()
        await super().setup()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        with self.outage.outlasted():
            return await super().get_and_submit_flow_runs()
        return []

    async def _sync_and_initialize(self) -> None:
        with self.outage.outlasted():
            await super()._sync_and_initialize()

    async def _setup_cancellation_observer(self) -> None:
        before = self._cancelling_observer
        await super()._setup_cancellation_observer()
        if self._cancelling_observer is not before:
            let_last(self._cancelling_observer, self.outage)

    async def _cancel_run(self, flow_run_id: UUID) -> None:
        with self.outage.outlasted():
            await super()._cancel_run(flow_run_id)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Leave a run where it is that cannot be taken up just now: Prefect would end the worker."""
        with self.outage.outlasted():
            await super()._submit_run(flow_run)
            return
        self._release_limit_slot(flow_run.id)
        self._submitting_flow_run_ids.discard(flow_run.id)
        if self._cancelling_observer:
            self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)


def let_last(observer: FlowRunCancellingObserver | None, outage: Outage) -> None:
    """Let what watches for cancelled runs go on after an outage: it would give up, and a Cancel would do nothing."""
    if observer:
        observer._check_for_cancelled_flow_runs = _outlasting(  # type: ignore[method-assign]
            observer._check_for_cancelled_flow_runs, outage
        )


def _outlasting(ask: Ask, outage: Outage) -> Ask:
    @wraps(ask)
    async def asked() -> None:
        with outage.outlasted():
            await ask()

    return asked


def _said(error: httpx.HTTPError) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
