"""What Prefect's automations take for silence: only that which the server was there to hear.

One that waits for a sign of life, or else acts, keeps until when in the database. A server that was away for longer, or
whose database was, finds that time to be over as it comes back, and would end every healthy run, even at its sign of
life. Here they have as long again as they have at first.
"""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.server.events import triggers
from prefect.server.events.schemas.automations import EventTrigger, Posture
from prefect.server.events.schemas.events import ReceivedEvent
from sqlalchemy.ext.asyncio import AsyncSession

if TYPE_CHECKING:
    from prefect.server.database.orm_models import ORMAutomationBucket

BREAK_SECONDS = 30.0
"""Without a look at the database, which this server takes every 5 s, until it counts as having been away."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# Of Prefect's own, some say nothing of what they take.
_evaluate: Any = triggers.evaluate
_evaluate_now_and_then: Any = triggers.periodic_evaluation
_start_again: Any = triggers.start_new_bucket
_sweep: Any = triggers.sweep_closed_buckets


class Hearing:
    """Since when the server has been there without a break."""

    def __init__(self) -> None:
        self._looked: float | None = None
        self._since = datetime.now(UTC)

    def looked(self) -> None:
        """Note that the database has answered."""
        self._since, self._looked = self.since(), time.monotonic()

    def since(self) -> datetime:
        if self._looked is None or time.monotonic() - self._looked > BREAK_SECONDS:
            return datetime.now(UTC)
        return self._since


def later_end(start: datetime, end: datetime, since: datetime) -> datetime:
    """Return when a wait is over whose beginning a server did not hear that has been there `since` then."""
    return end if start >= since else max(end, since + (end - start))


_hearing = Hearing()


async def _evaluate_what_was_heard(
    session: AsyncSession,
    trigger: EventTrigger,
    bucket: "ORMAutomationBucket",
    now: datetime,
    triggering_event: ReceivedEvent | None,
) -> "ORMAutomationBucket | None":
    """Do what Prefect does, with a wait that is over when it should be."""
    if trigger.posture == Posture.Proactive:
        end = later_end(bucket.start, bucket.start + trigger.within, _hearing.since())
        if end > bucket.end:
            # The same wait: with another beginning, a sign of life that is on its way would come too early for it.
            bucket = await _start_again(
                session, trigger, tuple(bucket.bucketing_key), start=bucket.start, end=end, count=bucket.count,
                triggered_at=bucket.triggered_at, last_event=bucket.last_event,
            )  # fmt: skip
        if triggering_event and bucket.end <= now and _begins_anew(trigger, bucket, triggering_event):
            # Prefect would forget it with the wait that is over, and that nobody has come to yet.
            begun: ORMAutomationBucket = await _start_again(
                session, trigger, tuple(bucket.bucketing_key), start=now, end=now + trigger.within, count=0,
                last_event=triggering_event,
            )  # fmt: skip
            return begun
    left: ORMAutomationBucket | None = await _evaluate(session, trigger, bucket, now, triggering_event)
    return left


def _begins_anew(trigger: EventTrigger, bucket: "ORMAutomationBucket", event: ReceivedEvent) -> bool:
    """Whether what was waited for has come, and this event is one to wait after."""
    return trigger.starts_after(event.event) and not trigger.meets_threshold(bucket.count)


async def _look(now: datetime) -> None:
    await _evaluate_now_and_then(now)
    _hearing.looked()


async def _sweep_what_was_heard(session: AsyncSession, older_than: datetime) -> None:
    """Forget no wait that this server has not come to yet; the database is asked in any case."""
    await _sweep(session, older_than if older_than > _hearing.since() else _LONG_AGO)


def listen() -> None:
    """Let the server of this process take silence so; Prefect has no setting for it."""
    triggers.evaluate = _evaluate_what_was_heard
    triggers.periodic_evaluation = _look
    triggers.sweep_closed_buckets = _sweep_what_was_heard
