"""A Prefect client of an API of a few lines (tests.flows.small_server)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, PREFECT_HOME, temporary_settings

from tests.flows.small_server import Asked, answering


@contextmanager
def client_of(
    answer: Callable[[Asked], tuple[int, Any]], home: Path, ahead: float = 0.0
) -> Iterator[SyncPrefectClient]:
    """Yield a client of a server that answers so, and whose clock is ahead by so many seconds; other clients that are
    made meanwhile ask it as well.
    """
    settings = {PREFECT_HOME: home, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with (
        answering(answer, ahead) as url,
        temporary_settings({PREFECT_API_URL: url, **settings}),
        get_client(sync_client=True) as client,
    ):
        yield client
