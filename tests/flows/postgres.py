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


class Postgres:
    """A running one, on a free port of 127.0.0.1."""

    def __init__(self, programs: Path, home: Path, user: str | None) -> None:
        self._programs, self._home, self._port = programs, home, free_port()
        self._how: dict[str, Any] = {"user": user, "cwd": home, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._url("taskdistill", "runs")
        """Of an empty database, with the password of its owner, who is no superuser."""

    def make(self, secret: Path) -> None:
        """Make its files; `secret` holds the password of its superuser."""
        how = ["-U", "admin", "--auth=scram-sha-256", f"--pwfile={secret}", "-N"]
        subprocess.run(
            [self._programs / "initdb", "-D", self._home / "data", *how], check=True, capture_output=True, **self._how
        )
        self.start()
        self._do(f"CREATE ROLE taskdistill LOGIN PASSWORD '{PASSWORD}'")
        self._do("CREATE DATABASE runs OWNER taskdistill")

    def start(self) -> None:
        """Start it, and wait until it lets somebody in."""
        where = ["-D", str(self._home / "data"), "-p", str(self._port), "-k", str(self._home)]
        with (self._home / "log").open("ab") as log:
            started = self._process = subprocess.Popen(
                [self._programs / "postgres", *where, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
                stdout=log, stderr=log, **self._how,
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while not self._lets_in():
            if started.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self._home / 'log').read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it; who is connected is thrown out."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=SECONDS)
            self._process = None

    def _lets_in(self) -> bool:
        try:
            self._do("SELECT 1")
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        return True

    def _do(self, command: str) -> None:
        asyncio.run(_done(self._url("admin", "postgres"), command))

    def _url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self._port}/{database}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run one, gone in the end. Skips where PostgreSQL is not installed."""
    if not (folder := programs()):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        home, user = Path(name), _user()
        (secret := home / "password").write_text(PASSWORD)
        if user:
            shutil.chown(home, user)
            shutil.chown(secret, user)
        one = Postgres(folder, home, user)
        try:
            one.make(secret)
            yield one
        finally:
            one.stop()


def _user() -> str | None:
    """Who runs it: this user, unless he is root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"


async def _done(url: str, command: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(command)
    finally:
        await connection.close()
