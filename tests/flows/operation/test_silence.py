"""What Prefect's automations take for silence, on a database of its own: only that which a server was there to hear."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskdistill.flows.operation import silence

WITHIN = timedelta(seconds=100)
BEAT = "prefect.flow-run.heartbeat"

Found = dict[str, Any]


def test_a_wait_whose_beginning_the_server_did_not_hear_is_as_long_from_its_return() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + WITHIN
    assert silence.later_end(start, end, since=start - timedelta(hours=1)) == end
    assert silence.later_end(start, end, since=start + timedelta(seconds=30)) == end + timedelta(seconds=30)
    assert silence.later_end(start, end, since=start + timedelta(hours=1)) == start + timedelta(hours=1) + WITHIN


def test_a_server_whose_database_was_away_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = silence.Hearing()
    hearing.looked()
    first = hearing.since()
    hearing.looked()
    assert hearing.since() == first
    monkeypatch.setattr(silence, "BREAK_SECONDS", -1.0)  # the last look is longer ago than that
    assert hearing.since() > first
    hearing.looked()
    monkeypatch.undo()
    assert hearing.since() > first


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Found]:
    """Lets a server come upon a wait for a sign of life that began some time ago; tells what it fired, and what is left
    of the wait.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config
    from prefect.server.events import triggers

    fired: list[Any] = []

    async def fire(session: Any, firing: Any) -> None:
        fired.append(firing)

    monkeypatch.setattr(triggers, "fire", fire)  # what it would do is another part of the server's

    def evaluate(
        began: datetime, event: Any = None, evaluating: Callable[..., Awaitable[Any]] | None = None, count: int = 0
    ) -> Found:
        fired.clear()
        with temporary_database_config(AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/{uuid4()}.db")):
            bucket = asyncio.run(_evaluated(began, count, event, evaluating or silence._evaluate_what_was_heard))
        return {"fired": len(fired), "left": bucket and (bucket.end, bucket.count)}

    return evaluate


async def _evaluated(began: datetime, count: int, event: Any, evaluating: Callable[..., Awaitable[Any]]) -> Any:
    from prefect.server.database import provide_database_interface
    from prefect.server.events import actions, triggers
    from prefect.server.events.schemas.automations import Automation, EventTrigger, Posture

    database = provide_database_interface()
    async with (await database.engine()).begin() as connection:
        for table in (database.Automation.__table__, database.AutomationBucket.__table__):
            await connection.run_sync(table.create)
    trigger = EventTrigger(
        after={BEAT}, expect={BEAT}, for_each={"prefect.resource.id"}, posture=Posture.Proactive, within=WITHIN
    )
    automation = Automation(id=uuid4(), name="silence", trigger=trigger, actions=[actions.DoNothing()])
    async with database.session_context(begin_transaction=True) as session:
        session.add(database.Automation(**automation.model_dump(exclude={"created", "updated"})))
        await session.flush()
        bucket = await triggers.start_new_bucket(session, trigger, ("run",), began, began + WITHIN, count=count)
        now = event.occurred if event else datetime.now(UTC)
        await evaluating(session, trigger, bucket, now, event)
        return await triggers.read_bucket(session, trigger, ("run",))


def a_sign_of_life() -> Any:
    from prefect.server.events.schemas.events import ReceivedEvent

    resource = {"prefect.resource.id": "run"}
    return ReceivedEvent(occurred=datetime.now(UTC), event=BEAT, resource=resource, id=uuid4())


def test_who_was_silent_while_the_server_was_away_has_as_long_again(
    evaluated: Callable[..., Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.server.events import triggers

    long_ago = datetime.now(UTC) - 3 * WITHIN
    assert evaluated(long_ago, evaluating=silence._evaluate)["fired"] == 1  # Prefect's own
    assert evaluated(long_ago, a_sign_of_life(), silence._evaluate)["fired"] == 1  # at the proof that it lives
    monkeypatch.setattr(silence, "_hearing", hearing := silence.Hearing())
    hearing.looked()
    back = hearing.since()
    assert evaluated(long_ago) == {"fired": 0, "left": (back + WITHIN, 0)}
    alive = a_sign_of_life()
    assert evaluated(long_ago, alive) == {"fired": 0, "left": (alive.occurred + WITHIN, 0)}
    assert triggers.evaluate is silence._evaluate  # but in a server: listen()


def test_what_is_to_be_waited_for_anew_is_not_forgotten_with_a_wait_that_is_over(
    evaluated: Callable[..., Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "_hearing", hearing := silence.Hearing())
    hearing.looked()
    hearing._since -= 4 * WITHIN
    again = a_sign_of_life()
    ended = datetime.now(UTC) - WITHIN - timedelta(seconds=1)
    assert evaluated(ended, again, silence._evaluate, count=1) == {"fired": 0, "left": None}  # Prefect's own
    assert evaluated(ended, again, count=1) == {"fired": 0, "left": (again.occurred + WITHIN, 0)}


def test_who_was_silent_while_the_server_heard_is_over(
    evaluated: Callable[..., Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "_hearing", hearing := silence.Hearing())
    hearing.looked()
    hearing._since -= 4 * WITHIN
    assert evaluated(datetime.now(UTC) - 2 * WITHIN) == {"fired": 1, "left": None}
