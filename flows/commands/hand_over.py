"""The command that hands a finished model over: to a library or program that runs it without this one."""

from pathlib import Path
from typing import Annotated

import typer

from configs.choices import EXPORT_PACKAGES, EXPORT_TARGETS, load, nearest
from configs.errors import SettingsError
from flows.printing import AsJson, Reference, output, print_json
from storage.store import ArtifactStore

commands = typer.Typer()


@commands.command()
def export(
    reference: Reference,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[str, typer.Option(help=f"What for: {', '.join(EXPORT_TARGETS)}.")],
    as_json: AsJson = False,
) -> None:
    """Write a finished model as a folder that another program runs, such as mmsegmentation, whole or not at all."""
    if to not in EXPORT_TARGETS:
        raise SettingsError(f"a model cannot be exported to {to!r}{nearest(to, EXPORT_TARGETS)}")
    if to in EXPORT_PACKAGES:
        load(EXPORT_PACKAGES, to)(f"the export to {to}")
    store = ArtifactStore.from_env()
    source = store.path(store.resolve(reference, "model"))
    exported = load(EXPORT_TARGETS, to)(source, folder)
    if as_json:
        print_json({"folder": str(folder.absolute()), "files": exported.files, "difference": exported.difference})
        return
    output.print(f"{folder} holds {', '.join(exported.files)}")
    output.print(f"What it answers there differs from what the model answers here by {exported.difference:.1e} at most")
