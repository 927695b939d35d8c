"""The commands of the embedded miniature: making its shipped weights again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.printing import errors, output

if TYPE_CHECKING:
    from tasks.stage import Report

commands = typer.Typer(no_args_is_help=True, help="The embedded world of birds, and the networks pretrained on it.")

PLAIN_SECONDS = 20.0


class PartName(StrEnum):
    """What can be pretrained; the mixer needs the encoder and the autoencoder in the same folder."""

    TEACHER = "teacher"
    STUDENT = "student"
    ENCODER = "encoder"
    AUTOENCODER = "autoencoder"
    MIXER = "mixer"


@commands.callback()
def _commands() -> None:
    """Keep `pretrain` a command by its name, though it is the only one."""


@commands.command()
def pretrain(
    part: PartName,
    folder: Annotated[Path, typer.Argument(help="Where runs are kept; a run that was stopped continues.")],
    images: Annotated[int, typer.Option(min=0, help="Pictures to see; 0: as many as the shipped weights saw.")] = 0,
) -> None:
    """Pretrain one network of the miniature on one CPU core, or continue a run that was stopped."""
    import torch

    from tasks.miniature.parts import pretrain_part

    # One thread gives the same bits on a machine with any number of cores, and two runs stay out of each other's way.
    torch.set_num_threads(1)
    with _progress(part.value) as report:
        history = pretrain_part(part.value, folder, num_images=images, report=report)
    output.print(f"{folder / part.value}: {history['images']} pictures in {history['cpu_seconds']:.0f} CPU-seconds")
    output.print_json(data=history["scores"])


@contextmanager
def _progress(name: str) -> "Iterator[Report]":
    """A bar with the time left on a terminal, a line now and then elsewhere."""
    if not errors.is_terminal:
        yield _plain(name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda unit, done, total: progress.update(
            task, description=f"{name} ({unit})", completed=done, total=total
        )


def _plain(name: str) -> "Report":
    began = last = time.monotonic()
    first = -1

    def report(unit: str, done: int, total: int) -> None:
        nonlocal last, first
        first = done - 1 if first < 0 else first
        if (now := time.monotonic()) - last >= PLAIN_SECONDS:
            last = now
            left = (now - began) / max(done - first, 1) * (total - done)
            errors.print(f"{name}: {done} of {total} {unit}, about {left:.0f} s left")

    return report
