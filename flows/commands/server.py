"""The commands around a Prefect server: starting one that lets nobody else in, serving the flows, working for them."""

import os
import sys
from typing import Annotated

import typer

from flows.deployed.prefect_environment import keep_prefect_quiet
from flows.printing import errors

commands = typer.Typer()

Limit = Annotated[int, typer.Option(min=1, help="Runs at the same time; the others wait.")]
AllowOpenServer = Annotated[
    bool,
    typer.Option("--allow-open-server", help="Also work for a server without a password, or open to any web page."),
]


@commands.command()
def server(port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens, on 127.0.0.1.")] = 4200) -> None:
    """Start the Prefect server of this machine, with a password and for its own pages only; until Ctrl-C."""
    keep_prefect_quiet()
    from flows.deployed.server_access import PORT, address, closed_server
    from flows.deployed.server_password import password_file

    closed_server(port)
    elsewhere = "" if port == PORT else f"PREFECT_API_URL={address(port)} "
    errors.print(
        f"The page:      http://127.0.0.1:{port}\n"
        f"its password:  cat {password_file()}\n"
        f"Next:          {elsewhere}taskdistill serve   (in another terminal)",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    start = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *start])


@commands.command()
def serve(
    limit: Limit = 1,
    allow_open_server: AllowOpenServer = False,
) -> None:
    """Offer the pipeline and every single stage to a Prefect server, and run what it asks for; until Ctrl-C."""
    _log_in(allow_open_server=allow_open_server)
    from flows.deployed.serving import serve_all

    serve_all(limit=limit)


@commands.command()
def worker(limit: Limit = 1, allow_open_server: AllowOpenServer = False) -> None:
    """Take up parts of stages that runs with runtime.fan_out hand out; one for each GPU, until Ctrl-C."""
    _log_in(allow_open_server=allow_open_server)
    from flows.deployed.worker import work

    work(limit=limit)


def _log_in(*, allow_open_server: bool) -> None:
    """Check the server before torch is imported."""
    keep_prefect_quiet()
    from flows.deployed.server_access import check_closed, check_password, check_server, log_in

    url = log_in()
    check_server(url)
    if not allow_open_server:
        check_closed(url)
    check_password(url)
