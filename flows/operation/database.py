"""The PostgreSQL in which a server keeps its runs, where it does not keep them in a file of its machine (SQLite).

Its password is for the server alone. Whoever is on a machine sees the command lines of its processes, so it may stand
in the variable TASKDISTILL_DATABASE_URL, or in ~/.pgpass, and not behind `--database-url`; and `up` takes the variable
out of its environment, which workers and runs inherit.
"""

import asyncio
import re

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from taskdistill.flows.deployed.server import ServerError
from taskdistill.flows.operation.prefect_environment import DATABASE_URL, forget_database

_SHAPE = f"postgresql://USER@HOST:5432/NAME, or USER:PASSWORD@... in the variable {DATABASE_URL}"
_DRIVER = "postgresql+asyncpg"
_ANSWER_SECONDS = 15.0
_WANTED = 13
"""What Prefect's tables need; PostgreSQL 12 lets nobody but a superuser add the extension pg_trgm."""


def given_database(url: str) -> str:
    """Return the URL by which Prefect's server finds the database, "" where none is given; nobody else inherits it.

    Raises ServerError where it is none of PostgreSQL.
    """
    forget_database()
    if not url:
        return ""
    try:
        found = make_url(re.sub(r"^postgres(ql)?(?=:)", _DRIVER, url))
    except (ArgumentError, ValueError):
        raise ServerError(f"the URL of the database cannot be read: it should be {_SHAPE}") from None
    if found.drivername != _DRIVER or not found.database:
        raise ServerError(f"the database {_without_password(found)!r} is none that several hosts can use: {_SHAPE}")
    if "sslmode" in found.query:  # how everybody else calls it
        found = found.difference_update_query(["sslmode"]).update_query_dict({"ssl": found.query["sslmode"]})
    return found.render_as_string(hide_password=False)


def check_database(url: str) -> None:
    """Raise ServerError where the database does not let us in, or cannot do what Prefect needs."""
    named = _without_password(make_url(url))
    try:
        version = asyncio.run(_version(url))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, TypeError) as error:
        raise ServerError(
            f"the database {named} cannot be used ({str(error) or type(error).__name__}): correct its URL, or see that "
            "it runs, lets this user in from here, and has been created (createdb)"
        ) from None
    if version < _WANTED:
        raise ServerError(f"the database {named} is PostgreSQL {version}; it should be {_WANTED} or newer")


async def _version(url: str) -> int:
    engine = create_async_engine(url, connect_args={"timeout": _ANSWER_SECONDS})
    try:
        async with engine.connect() as connection:
            told = await connection.exec_driver_sql("SHOW server_version_num")
            return int(told.scalar_one()) // 10_000
    finally:
        await engine.dispose()


def _without_password(url: URL) -> str:
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)
