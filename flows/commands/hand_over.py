"""The commands that hand a finished model over, to a library or program that runs it without this one, and tell how
long it takes there.
"""

from pathlib import Path
from typing import Annotated

import typer

from taskdistill.configs.choices import EXPORT_PACKAGES, EXPORT_PRECISIONS, EXPORT_TARGETS, load, nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.flows.pipeline.models import resolved_model
from taskdistill.flows.pipeline.progress import progress
from taskdistill.flows.printing import AsJson, Reference, errors, output, print_json, print_table
from taskdistill.storage.store import ArtifactStore

commands = typer.Typer()

PRECISIONS = ("fp32",)
"""Of a target that has no others."""


@commands.command()
def export(
    reference: Reference,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[str, typer.Option(help=f"What for: {', '.join(EXPORT_TARGETS)}.")],
    precision: Annotated[
        str, typer.Option(help="What the network computes in: fp32, and for onnx also fp16 and int8.")
    ] = "fp32",
    as_json: AsJson = False,
) -> None:
    """Write a finished model as a folder that another program runs, such as ONNX Runtime, whole or not at all; say how
    near its answers are to the model's own.
    """
    _check(to, precision)
    store = ArtifactStore.from_env()
    ref = resolved_model(store, reference)
    from taskdistill.flows.reports.card import warnings_of
    from taskdistill.flows.reports.handing_over import given_of
    from taskdistill.tasks.export.target import export as write

    if store.manifest(ref).provenance.get("settings", {}).get("license") == "commercial":
        for warning in warnings_of(store, ref):
            errors.print(f"warning: {warning}")
    with progress(errors, f"export to {to}") as on_progress:
        given = given_of(store, ref, precision)._replace(on_progress=on_progress)
        exported = write(load(EXPORT_TARGETS, to), to, given, folder)
    if as_json:
        print_json(
            {"folder": str(folder.absolute()), "files": exported.files, "said": exported.said, **exported.measured}
        )
        return
    output.print(f"{folder} holds {', '.join(exported.files)}")
    for sentence in exported.said:
        output.print(sentence)


@commands.command()
def latency(
    reference: Reference,
    exported: Annotated[list[Path], typer.Argument(help="Folders that 'export' wrote of it, to be measured too.")] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Measure how long a model takes from an image to its answer: median and 95th percentile, at batch 1 and 32, with
    one thread and all, on CPU and GPU, as it lies in the store and in each exported form.
    """
    store = ArtifactStore.from_env()
    source = store.path(resolved_model(store, reference))
    from taskdistill.flows.reports.latencies import latency_table, measured_forms
    from taskdistill.storage.weights import ModelDescription

    size = ModelDescription.read(source).size
    found = measured_forms(source, exported, size)
    if as_json:
        print_json({"latencies": [one._asdict() for one in found.latencies], "load": found.load, "size": list(size)})
        return
    print_table("", latency_table(found.latencies))
    for sentence in found.notes(size):
        output.print(sentence)


def _check(to: str, precision: str) -> None:
    """Raise what is wrong with what was asked for, before torch is imported."""
    if to not in EXPORT_TARGETS:
        raise SettingsError(f"a model cannot be exported to {to!r}{nearest(to, EXPORT_TARGETS)}")
    if precision not in (known := EXPORT_PRECISIONS.get(to, PRECISIONS)):
        raise SettingsError(f"--to {to} cannot compute in {precision!r}{nearest(precision, known)}")
    if to in EXPORT_PACKAGES:
        load(EXPORT_PACKAGES, to)(f"the export to {to}")
