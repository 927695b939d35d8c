"""The commands that run a machine: everything up, everything down, one more worker, and what is wrong."""

import shlex
import signal
import sys
import time
from functools import partial
from getpass import getpass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.operation.prefect_environment import DATABASE_URL, keep_prefect_quiet, tell_where_things_are
from taskdistill.flows.operation.state import Running, StateFolder
from taskdistill.flows.presets import DEFAULT_HOME, HOME, PRESETS
from taskdistill.flows.printing import errors, output

commands = typer.Typer()

DOWN_SECONDS = 60.0

Folder = Annotated[Path, typer.Option("--folder", envvar=HOME, help="Where state, password and logs are kept.")]
Presets = Annotated[
    Path | None, typer.Option(envvar=PRESETS, help="A folder of YAML presets of your own, which the forms offer.")
]
Runs = Annotated[int, typer.Option(min=1, help="Pipelines and single stages at the same time; the others wait.")]


def _untold(context: typer.Context, parameter: typer.CallbackParam, url: str) -> str:
    """Return the URL of a database; SettingsError where everybody on this machine can read its password."""
    source = context.get_parameter_source(parameter.name or "")
    is_told = source is not None and source.name == "COMMANDLINE"
    if is_told and (urlsplit(url).password or "password=" in urlsplit(url).query):
        raise SettingsError(
            "a password behind --database-url can be read by everybody on this machine, who sees the command lines of "
            f"its processes: give the URL in the variable {DATABASE_URL}, or leave the password out and keep it in "
            "~/.pgpass"
        )
    return url


DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar=DATABASE_URL,
        callback=_untold,
        show_default=False,
        help="postgresql://USER@HOST/NAME, for many runs at once. Without: a file of this machine (SQLite).",
    ),
]
OnStop = Annotated[
    Literal["finish", "hand-back"],
    typer.Option(help="What becomes of runs at the end: finished first, or handed back, to be continued by the next."),
]
AllowOpenServer = Annotated[
    bool,
    typer.Option("--allow-open-server", help="Also work for a server without a password, or open to any web page."),
]


@commands.command()
def up(
    folder: Folder = Path(DEFAULT_HOME),
    presets: Presets = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the server listens, on 127.0.0.1.")] = 4200,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs to use; all, unless said.")] = None,
    runs: Runs = 2,
    database_url: DatabaseUrl = "",
    no_password: Annotated[bool, typer.Option("--no-password", help="Let in whoever reaches the server.")] = False,
    on_stop: OnStop = "hand-back",
    new_store: Annotated[
        bool, typer.Option("--new-store", help="Use TASKDISTILL_STORE, though the server's store was another.")
    ] = False,
) -> None:  # fmt: skip
    """Start server, work pool, deployments and workers of this machine, and watch over them; until Ctrl-C."""
    state = StateFolder(folder)
    state.make()
    keep_prefect_quiet(state.prefect_home)
    tell_where_things_are(state.path, presets)
    from taskdistill.flows.operation.database import given_database
    from taskdistill.flows.operation.gpus import chosen_gpus, gpus_of_machine
    from taskdistill.flows.operation.up import Wanted, bring_up

    chosen = chosen_gpus(gpus_of_machine(), gpus)
    with state.held() as is_ours:
        if not is_ours:
            if (running := state.running()) and running.is_ready:
                errors.print("'taskdistill up' runs already: what is asked for here, such as --port, changes nothing")
            _say_where(state, running)
            return
        wanted = Wanted(
            port=port, gpus=chosen, runs=runs, on_stop=on_stop, has_password=not no_password,
            database=given_database(database_url),
            presets=presets.expanduser().absolute() if presets else None, is_new_store=new_store,
        )  # fmt: skip
        code = bring_up(state, wanted, partial(_say_where, state))
    raise typer.Exit(code)


@commands.command()
def down(
    folder: Folder = Path(DEFAULT_HOME),
    hand_back: Annotated[
        bool, typer.Option("--hand-back", help="Do not wait for runs that are to be finished.")
    ] = False,
) -> None:
    """Stop what `up` has started, as Ctrl-C does; also what an `up` that was killed has left behind."""
    state = StateFolder(folder)
    if not state.path.exists():
        output.print(f"nothing is up: there is no folder {state.path}")
        return
    state.make()
    keep_prefect_quiet(state.prefect_home)
    from taskdistill.flows.operation.up import end_leftovers

    running = state.running()
    if not state.is_held():
        with state.held() as is_ours:
            if is_ours:
                end_leftovers(state)
        output.print("nothing is up" if running is None else "what was left of the last 'taskdistill up' is stopped")
        return
    _stop_up(state, hand_back=hand_back)
    output.print("stopped")


def _stop_up(state: StateFolder, *, hand_back: bool) -> None:
    """Ask the `up` that runs to end, and wait for it."""
    told: Running | None = None
    deadline = time.monotonic() + DOWN_SECONDS
    while state.is_held():
        # Who has only just been started says a little later who he is; until then that of the time before is told of.
        if told is None and (running := state.running()) and running.up.is_alive():
            running.up.send(signal.SIGTERM)
            if hand_back and running.on_stop == "finish":
                running.up.send(signal.SIGTERM)
            told, deadline = running, time.monotonic() + DOWN_SECONDS
        is_to_wait = told is not None and told.on_stop == "finish" and not hand_back
        if time.monotonic() > deadline and not is_to_wait:
            errors.print(f"'taskdistill up' still runs; see its terminal, and the logs in {state.path}")
            raise typer.Exit(1)
        time.sleep(0.2)


@commands.command()
def worker(
    queue: Annotated[Literal["gpu", "cpu", "both"], typer.Option(help="gpu: parts and steps, one at a time.")] = "both",
    runs: Runs = 2,
    presets: Presets = None,
    on_stop: OnStop = "hand-back",
    allow_open_server: AllowOpenServer = False,
    folder: Folder = Path(DEFAULT_HOME),
) -> None:
    """Take up runs of the server at PREFECT_API_URL, on this or another host; one for each GPU, until Ctrl-C."""
    state = StateFolder(folder)
    state.make()
    keep_prefect_quiet(state.prefect_home)
    tell_where_things_are(state.path, presets)
    from taskdistill.flows.operation.joining import join

    known = state.running()
    join(
        state, port=known.port if known else None, queue=queue, runs=runs, on_stop=on_stop,
        presets=presets, allow_open_server=allow_open_server,
    )  # fmt: skip


@commands.command()
def doctor(folder: Folder = Path(DEFAULT_HOME)) -> None:
    """Say what is wrong with this machine, its store and its server, and what mends it."""
    state = StateFolder(folder)
    state.make()
    keep_prefect_quiet(state.prefect_home)
    from taskdistill.flows.operation.doctor import findings

    found = 0
    for finding in findings(state):
        found += finding.is_fault
        output.print(f"{'' if finding.is_fault else 'hint: '}{finding.what}\n  {finding.mend}")
    if found:
        raise typer.Exit(1)
    output.print("nothing is wrong")


@commands.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
)
def prefect(context: typer.Context, folder: Folder = Path(DEFAULT_HOME)) -> None:
    """Do what Prefect's own command does, at the server of this machine or of PREFECT_API_URL, whose password it gets.

    Such as: taskdistill prefect deployment ls. What may follow: taskdistill prefect config --help, and so on.
    """
    state = StateFolder(folder)
    state.make()
    keep_prefect_quiet(state.prefect_home)
    from taskdistill.flows.operation.prefect_command import become_prefect

    running = state.running()
    become_prefect(running.port if running else None, context.args or ["--help"])


@commands.command()
def notify(
    test: Annotated[bool, typer.Option("--test", help="Have the server send a message; it takes a minute.")] = False,
    all_runs: Annotated[bool, typer.Option("--all", help="Also of runs that a person has started.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Tell nobody any more.")] = False,
    folder: Folder = Path(DEFAULT_HOME),
) -> None:
    """Have people told of runs of a schedule that failed, and do not go on by themselves: asks for addresses, or reads
    them from its input.

    One or several, by blanks or lines: https://... of a webhook or of Slack,
    mailtos://USER:PASSWORD@SMTP-HOST?from=ME&to=YOU, or another of https://appriseit.com/services.
    """
    state = StateFolder(folder)
    state.make()
    keep_prefect_quiet(state.prefect_home)
    from taskdistill.flows.operation.notifications import OF_ALL, OF_SCHEDULES, STILL_SECONDS
    from taskdistill.flows.operation.notifications import notify as tell

    # Most addresses hold a secret, which a command line would show to everybody on this machine.
    ask = partial(getpass, "Addresses (not shown): ") if sys.stdin.isatty() else sys.stdin.read
    addresses = [] if off else ask().split()
    if not addresses and not off:
        raise SettingsError("no address was given: type or pipe one in, or say --off")
    running = state.running()
    tell(running.port if running else None, addresses, of=OF_ALL if all_runs else OF_SCHEDULES, is_tested=test)
    if not addresses:
        output.print("nobody is told any more")
        return
    which = "runs, also those that a person has started," if all_runs else "runs of schedules"
    number = "1 address is" if len(addresses) == 1 else f"{len(addresses)} addresses are"
    output.print(
        f"{number} told of taskdistill's {which} that failed and are still so "
        f"{STILL_SECONDS:.0f} s later: one that is handed back goes on by itself"
    )


def _say_where(state: StateFolder, running: Running | None) -> None:
    from taskdistill.flows.operation.server_password import password_file

    if running is None or not running.is_ready:
        errors.print("'taskdistill up' is being started by another process: wait for it")
        return
    password = password_file()
    folders = dict.fromkeys([str(state.path), str(password.parent)])  # PREFECT_HOME may be another
    named = "" if state.path == StateFolder(Path(DEFAULT_HOME)).path else f" --folder {shlex.quote(str(state.path))}"
    errors.print(
        f"The page:      {running.page}\n"
        + (f"its password:  cat {password}\n" if password.exists() else "")
        + f"The store:     {running.store}\n"
        f"Its state:     {' and '.join(folder for folder in folders if not folder.startswith(f'{state.path}/'))}\n"
        f"Stop it:       Ctrl-C there, or taskdistill down{named}\n"
        f"Is it well?    taskdistill doctor{named}"
    )
