"""Prefect's own command, as a server that takes what comes at the same time on SQLite too, and no run for dead that
lived on while it was away (flows.operation.silence): `... server start`.

Prefect begins transactions there as readers. One that has read, and writes after another has written, is refused at
once ("database is locked", status 503), however long it would wait for its turn: of twenty runs that were started at
the same moment in the UI, five were taken. One that begins as a writer waits, for up to a minute.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from taskdistill.flows.operation.silence import listen

_begin = AioSqliteConfiguration.begin_transaction


@asynccontextmanager
async def _as_writer(
    configuration: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    async with _begin(configuration, session, with_for_update=True) as transaction:
        await session.connection()  # begins now, and not with the first statement
        # What begins in its midst only reads, such as what tells of a queue that was paused: as a writer it would wait
        # for this one, which waits for it, and everybody else for both.
        token = SQLITE_BEGIN_MODE.set(None)
        try:
            yield transaction
        finally:
            SQLITE_BEGIN_MODE.reset(token)


def main() -> None:
    """Do what `prefect` does with the same arguments."""
    # Prefect has no setting for it, and PostgreSQL has the matter not.
    AioSqliteConfiguration.begin_transaction = _as_writer  # type: ignore[assignment, method-assign]
    listen()
    app()


if __name__ == "__main__":
    main()
