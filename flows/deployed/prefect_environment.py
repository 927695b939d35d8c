"""What Prefect is told by its environment: no tracking, no hidden server, where the server is, and its password.

Environment variables, because Prefect reads some of them while it is imported, all of its threads see them, and the
processes of its runs inherit them. What the user has set is left as it is.
"""

import os
from collections.abc import Mapping

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
}
"""Nothing is reported to anybody, no temporary server is started unasked, and nobody is waited for at a keyboard."""


def keep_prefect_quiet() -> None:
    """Call this before Prefect is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def tell_prefect(settings: Mapping[str, str]) -> None:
    """Set these variables for this process and those it starts; Prefect, imported already, reads them again."""
    from prefect.context import refresh_global_settings_context

    os.environ.update(settings)
    refresh_global_settings_context()
