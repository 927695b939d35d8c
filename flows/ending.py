"""How the command line ends: with one sentence for a person, and with the exit code that says which way.

Typer answers an interruption and a broken pipe by itself, and in silence; so the commands are a group of ours, which
is asked first. Its own errors (an unknown option) and its help are left to it.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from configs.errors import UserError
from flows.os_errors import explained
from flows.printing import errors

FAILED, BROKEN_PIPE = 1, 128 + signal.SIGPIPE


class Stopped(KeyboardInterrupt):
    """A signal asks the program to end; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class EndsInWords(TyperGroup):
    """The commands of the program; whatever ends one is said in a sentence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except UserError as error:
            _say_error(str(error))
            raise typer.Exit(FAILED) from None
        except BrokenPipeError:
            _forget_broken_pipes()
            raise typer.Exit(BROKEN_PIPE) from None
        except OSError as error:
            if not (words := explained(error)):
                raise
            _say_error(words)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt as stopped:
            with suppress(OSError):  # the terminal may have been closed: that is one way to be stopped
                errors.print("stopped; the same command continues where it was")
            raise typer.Exit(128 + getattr(stopped, "number", signal.SIGINT)) from None
        return done


def _say_error(words: str) -> None:
    errors.print(Text.assemble(("error:", "bold red"), " ", errors.render_str(words)))


def _forget_broken_pipes() -> None:
    """Let what is still to be written to a pipe that nobody reads go nowhere, so that the exit is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise Stopped in the main thread at the first signal that asks for an end; a second one ends at once.

    Signals that whoever started the program lets it ignore (a shell in the background, nohup) stay ignored, but not
    SIGTERM.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    heeded = [number for number in before if number == signal.SIGTERM or before[number] is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _stop(number: int, frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(other) is _stop:
            signal.signal(other, _end_at_once if os.getpid() == 1 else signal.SIG_DFL)
    if os.isatty(sys.__stderr__.fileno() if sys.__stderr__ else 2):
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor; a second signal would leave it hidden
    raise Stopped(number)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Do by hand what the kernel does for any process but the first of a container."""
    os._exit(128 + number)
