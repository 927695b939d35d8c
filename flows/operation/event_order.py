"""How long Prefect's automations wait for an event that another one follows: not at all, if it is not on its way.

Prefect holds an event back until the one it follows has come by, for up to 15 minutes. Of a run that its scheduler has
made there is no first event, so that nobody would hear for so long of what became of one that a schedule started
within five minutes of making it; and the automation that ends silent runs would miss their end. In a server of one
process, where events wait in memory, they come by in their order in any case.
"""

from prefect.server.events.ordering import EventArrivedEarly
from prefect.server.events.ordering.memory import CausalOrdering as InMemory
from prefect.server.events.schemas.events import ReceivedEvent


class CausalOrdering(InMemory):
    """What the setting PREFECT_SERVER_EVENTS_CAUSAL_ORDERING looks for in a module."""

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Wait while the one that this follows is at work."""
        try:
            await super().wait_for_leader(event)
        except EventArrivedEarly:
            await self.forget_follower(event)
