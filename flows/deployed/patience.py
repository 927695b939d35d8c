"""Asking a server that may be away for a while: what it is asked for is worth waiting for, but not for ever."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

log = logging.getLogger(__name__)

AWAY_SECONDS = 1800.0
"""For how long a server that is away is waited for: the runs of a night are worth it."""
ASK_SECONDS = 5.0

Answer = TypeVar("Answer")


def patiently(ask: Callable[[], Answer], sleep: Callable[[float], None] = time.sleep) -> Answer:
    """Ask the server, and again where it is away; raises what it says where it is there, or stays away, and what
    `sleep` raises.
    """
    deadline, is_told = time.monotonic() + AWAY_SECONDS, False
    while True:
        try:
            answer = ask()
        except httpx.HTTPError as error:
            if not is_passing(error) or time.monotonic() > deadline:
                raise
            if not is_told:
                minutes = AWAY_SECONDS / 60
                log.warning("the Prefect server is away (%s); it is asked again for %.0f minutes", error, minutes)
            is_told = True
        else:
            if is_told:
                log.warning("the Prefect server is back")
            return answer
        sleep(ASK_SECONDS)


def is_passing(error: httpx.HTTPError) -> bool:
    """Whether it says that the server or its database is away, and nothing of what was asked."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)
