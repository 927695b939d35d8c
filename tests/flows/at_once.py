"""Runs that are started at the same moment, by as many pages."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, NamedTuple
from uuid import UUID

import httpx


class Asked(NamedTuple):
    """A run that somebody wants."""

    parameters: Mapping[str, Any]
    start: datetime
    """When it is to begin."""


def ask_at_once(url: str, password: str, deployment: UUID, runs: Sequence[Asked]) -> list[UUID]:
    """Ask for these runs, each once, as a page does; returns those that were taken."""
    ready = Barrier(len(runs))

    def ask(place: int) -> UUID | None:
        with httpx.Client(base_url=url, auth=tuple(password.split(":", 1)), timeout=120) as page:
            name = f"page-{place}"
            token = page.get("/csrf-token", params={"client": name}).raise_for_status().json()["token"]
            headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": name}
            parameters, start = runs[place]
            state = {"type": "SCHEDULED", "state_details": {"scheduled_time": start.isoformat()}}
            asked = {"parameters": dict(parameters), "state": state}
            ready.wait()
            reply = page.post(f"/deployments/{deployment}/create_flow_run", json=asked, headers=headers)
        return UUID(reply.json()["id"]) if reply.is_success else None

    with ThreadPoolExecutor(len(runs)) as pages:
        return [run for run in pages.map(ask, range(len(runs))) if run]


def now_and_later(parameters: Mapping[str, Any], *, now: int, number: int) -> list[Asked]:
    """So many runs, of which some begin at once and the others in a year."""
    today = datetime.now(UTC)
    return [Asked(parameters, today if place < now else today + timedelta(days=365)) for place in range(number)]
