"""Runs that are started at the same moment, by as many pages."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import httpx


def start_at_once(url: str, password: str, deployment: UUID, parameters: Sequence[Mapping[str, Any]]) -> list[UUID]:
    """Ask for a run with each of these parameters, once, as a page does; returns those that were taken."""
    ready = Barrier(len(parameters))

    def ask(place: int) -> UUID | None:
        with httpx.Client(base_url=url, auth=tuple(password.split(":", 1)), timeout=120) as page:
            name = f"page-{place}"
            token = page.get("/csrf-token", params={"client": name}).raise_for_status().json()["token"]
            headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": name}
            asked = {"parameters": dict(parameters[place]), "state": {"type": "SCHEDULED"}}
            ready.wait()
            reply = page.post(f"/deployments/{deployment}/create_flow_run", json=asked, headers=headers)
        return UUID(reply.json()["id"]) if reply.is_success else None

    with ThreadPoolExecutor(len(parameters)) as pages:
        return [run for run in pages.map(ask, range(len(parameters))) if run]
