"""Transactions of the server on SQLite: writers take turns, and nobody waits for himself."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskdistill.flows.operation.server import _as_writer

SECONDS = 20.0


def within(seconds: float, work: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work, seconds)

    asyncio.run(limited())


def test_who_reads_in_the_midst_of_his_own_writing_does_not_wait_for_it(tmp_path: Path) -> None:
    """As the server does when a queue is paused."""
    database = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path}/runs.db")

    async def pause() -> None:
        engine = await database.engine()
        async with AsyncSession(engine) as writing, _as_writer(database, writing):
            await writing.execute(text("CREATE TABLE queues (name TEXT)"))
            async with AsyncSession(engine) as reading:
                assert (await reading.execute(text("SELECT 1"))).scalar() == 1

    within(SECONDS, pause())


def test_two_who_read_and_then_write_take_turns(tmp_path: Path) -> None:
    database = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path}/runs.db")
    count, raised = text("SELECT number FROM counts"), text("UPDATE counts SET number = :number")

    async def raise_it() -> None:
        async with AsyncSession(await database.engine()) as session, _as_writer(database, session):
            number = (await session.execute(count)).scalar() or 0
            await asyncio.sleep(0.1)
            await session.execute(raised, {"number": number + 1})

    async def both() -> None:
        async with AsyncSession(await database.engine()) as session, _as_writer(database, session):
            await session.execute(text("CREATE TABLE counts (number INTEGER)"))
            await session.execute(text("INSERT INTO counts VALUES (0)"))
        await asyncio.gather(raise_it(), raise_it())
        async with AsyncSession(await database.engine()) as session:
            assert (await session.execute(count)).scalar() == 2

    within(SECONDS, both())
