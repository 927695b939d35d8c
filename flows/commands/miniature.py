"""The commands of the embedded miniature: making its shipped weights again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from taskdistill.flows.pipeline.progress import progress
from taskdistill.flows.printing import errors, output

commands = typer.Typer(no_args_is_help=True, help="The embedded world of birds, and the networks pretrained on it.")


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

    from taskdistill.tasks.miniature.parts import pretrain_part

    # One thread gives the same bits on a machine with any number of cores, and two runs stay out of each other's way.
    torch.set_num_threads(1)
    with progress(errors, part.value) as on_progress:
        history = pretrain_part(part.value, folder, num_images=images, on_progress=on_progress)
    output.print(f"{folder / part.value}: {history['images']} pictures in {history['cpu_seconds']:.0f} CPU-seconds")
    output.print_json(data=history["scores"])
