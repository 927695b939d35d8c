"""Whose the program is that listens where this machine's server should: another user's, or another state folder's."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from taskdistill.flows.operation.finding import Finding
from taskdistill.flows.operation.processes import processes_listening, users_listening
from taskdistill.flows.operation.server_access import LOOPBACK
from taskdistill.flows.operation.state import StateFolder
from taskdistill.flows.presets import HOME


def whose_findings(url: str, folder: StateFolder) -> Iterator[Finding]:
    """Yield that who listens at an address of this machine is not the server of this state folder, where that is seen.

    What no `taskdistill up` has started, such as a tunnel to another host, is nobody's here, and not spoken of.
    """
    try:
        where = urlsplit(url)
        port = where.port if where.hostname in LOOPBACK else None
    except ValueError:  # said when the server is asked
        return
    if port is None:
        return
    if others := (users_listening(port) or set()) - {0, os.geteuid()}:
        yield Finding(
            f"the program that listens at {url} is not yours but that of user {min(others)}",
            f"taskdistill up --port {port + 1}   (or set PREFECT_API_URL, and PREFECT_API_AUTH_STRING to its password)",
        )
        return
    for process in processes_listening(port):
        home = _home_of(process)
        if home and Path(home).resolve() != folder.path.resolve():
            yield Finding(
                f"the server at {url} (process {process}) is that of the state folder {home}, and not of {folder.path}",
                f"taskdistill doctor --folder {home}   (or taskdistill up --port {port + 1})",
            )


def _home_of(process: int) -> str:
    """Return the state folder that a process was started with; "" where that is not known."""
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    start = f"{HOME}=".encode()
    return next((os.fsdecode(each.removeprefix(start)) for each in variables if each.startswith(start)), "")
