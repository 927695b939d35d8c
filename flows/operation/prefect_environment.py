"""What Prefect is told by its environment: no tracking, no hidden server, where the server is, and its password.

Environment variables, because Prefect reads some of them while it is imported, all of its threads see them, and the
processes of its runs inherit them. What the user has set is left as it is.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from taskdistill.flows.presets import HOME, PRESETS, check_own_presets
from taskdistill.storage.root import ID_VARIABLE

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
}
"""Nothing is reported to anybody, no temporary server is started unasked, and nobody is waited for at a keyboard."""

DATABASE_URL = "TASKDISTILL_DATABASE_URL"
"""Where the server's database is, with its password."""
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a run; the least that Prefect knows."""
WORKING = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
"""Runs show that they live, and workers look for runs every second: who clicks is not to wait for ten."""


def keep_prefect_quiet(home: Path) -> None:
    """Call this before Prefect is imported; `home` is where it keeps its own, where the user names no other place."""
    for name, value in (QUIET | WORKING | {"PREFECT_HOME": str(home)}).items():
        os.environ.setdefault(name, value)


def tell_where_things_are(home: Path, presets: Path | None) -> None:
    """Let this process and those it starts find the state folder, and the folder of presets of one's own.

    Raises SettingsError where that folder is none, or one of its presets has the name of one that comes with us.
    """
    os.environ[HOME] = str(home)
    if presets:
        os.environ[PRESETS] = str(presets.expanduser().absolute())
    check_own_presets()


def tell_runs_which_store(store_id: str) -> None:
    """Let runs started from here work on this store alone."""
    os.environ[ID_VARIABLE] = store_id


def forget_database() -> None:
    """Keep the URL of the database from the processes that are started from here on."""
    os.environ.pop(DATABASE_URL, None)


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process started from here, with these variables of its own."""
    return {**os.environ, **variables}


def tell_prefect(settings: Mapping[str, str]) -> None:
    """Set these variables for this process and those it starts; Prefect, imported already, reads them again."""
    from prefect.context import refresh_global_settings_context

    os.environ.update(settings)
    refresh_global_settings_context()
