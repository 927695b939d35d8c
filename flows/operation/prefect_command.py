"""Prefect's own command line, told where the server is and given its password.

Alone it knows neither: it would start a server of its own, which has nothing of ours, and ask that one. What it is told
stands in its environment, which nobody else can read; everybody on a machine sees the command lines of its processes.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from taskdistill.flows.operation.prefect_environment import inherited
from taskdistill.flows.operation.server_access import PORT, check_password, check_server, log_in


def become_prefect(port: int | None, arguments: Sequence[str]) -> NoReturn:
    """Become `prefect` with these arguments, for the server at PREFECT_API_URL or that of this machine's `up`.

    Raises ServerError where it does not answer, or does not let us in.
    """
    url = log_in(port or PORT)
    check_server(url)
    check_password(url)
    # By module, and without the folder this is started in (-P): a prefect.py there is none of Prefect's.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "prefect", *arguments], inherited({}))
