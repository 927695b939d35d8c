"""A PostgreSQL of Debian's packages, started by a test and gone with it."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.flows.local_server import free_port

PASSWORD = "not-to-be-read"
SECONDS = 120.0


def programs() -> Path | None:
    """The folder with initdb and postgres, which Debian keeps off the PATH; None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres() -> Iterator[str]:
    """Run one on a free port of 127.0.0.1; yields the URL of an empty database, with the password of its owner.

    The owner is no superuser. Skips where PostgreSQL is not installed.
    """
    if not (folder := programs()):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="postgres-") as home:
        user = _user()
        if user:
            shutil.chown(home, user)
        port, data = free_port(), f"{home}/data"
        secret = Path(home) / "password"
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(secret, user)
        how: dict[str, Any] = {"user": user, "cwd": home, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
        make = [folder / "initdb", "-D", data, "-U", "admin", "--auth=scram-sha-256", f"--pwfile={secret}", "-N"]
        subprocess.run(make, check=True, capture_output=True, **how)
        start = [folder / "postgres", "-D", data, "-p", port, "-k", home, "-c", "listen_addresses=127.0.0.1"]
        with (Path(home) / "log").open("wb") as log:
            process = subprocess.Popen([*start, "-c", "fsync=off"], stdout=log, stderr=log, **how)
        try:
            _create(f"postgresql://admin:{PASSWORD}@127.0.0.1:{port}/postgres", process, Path(home) / "log")
            yield f"postgresql://taskdistill:{PASSWORD}@127.0.0.1:{port}/runs"
        finally:
            process.send_signal(signal.SIGINT)  # asks those who are connected to leave
            process.wait(timeout=SECONDS)


def _user() -> str | None:
    """Who runs it: this user, unless he is root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"


def _create(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Create user and database, as soon as somebody is let in."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            asyncio.run(_do(url, f"CREATE ROLE taskdistill LOGIN PASSWORD '{PASSWORD}'"))
            break
        except (OSError, asyncpg.CannotConnectNowError):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{log.read_text()}")
        time.sleep(0.1)
    asyncio.run(_do(url, "CREATE DATABASE runs OWNER taskdistill"))


async def _do(url: str, command: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(command)
    finally:
        await connection.close()
