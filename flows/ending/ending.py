"""How the command line ends: with one sentence for a person, and with the exit code that says which way.

Typer answers an interruption and a broken pipe by itself, and in silence; so the commands are a group of ours, which
is asked first. Its own errors (an unknown option) and its help are left to it.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from taskdistill.configs.errors import UserError
from taskdistill.flows.ending.interruption import arrived, exit_code, sentence
from taskdistill.flows.ending.os_errors import explained
from taskdistill.flows.printing import errors

FAILED, BROKEN_PIPE = 1, 128 + signal.SIGPIPE


class EndsInWords(TyperGroup):
    """The commands of the program; a person is told in a sentence what ended one."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; raises typer.Exit with the exit code, and lets faults of the program through."""
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
        except BaseException:  # also what a library makes of an interruption, such as a failed import
            if not (code := exit_code()):
                raise
            arrived()
            with suppress(OSError):  # the terminal may have been closed: that is one way to be stopped
                errors.print(sentence())
            raise typer.Exit(code) from None
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
