"""The command that shows an artifact: scores, lineage, files, and the preset that makes it again."""

from collections.abc import Mapping
from typing import Any

import typer
from rich.tree import Tree

from taskdistill.configs.counting import counted
from taskdistill.configs.loading import dump_preset
from taskdistill.flows.printing import AsJson, Reference, output, print_json, print_table
from taskdistill.flows.reports.chosen import TRIALS, trials_table
from taskdistill.flows.reports.models import model_row, result_of
from taskdistill.flows.reports.results import score_notes, score_table
from taskdistill.flows.reports.steps import RUN
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.deploy.temperature import evaluation_of

commands = typer.Typer()

MAX_FILES = 12


@commands.command()
def show(reference: Reference, as_json: AsJson = False) -> None:
    """Print an artifact's scores, lineage, files, and the preset that makes it again."""
    store = ArtifactStore.from_env()
    ref = store.resolve(reference)
    manifest = store.manifest(ref)
    settings = manifest.provenance.get("settings", {})
    if as_json:
        lineage = _lineage_rows(store, ref)
        print_json({"manifest": manifest.model_dump(mode="json"), "lineage": lineage, "preset": settings})
        return
    output.print(f"{ref}\n")
    if ref.kind == "model":
        _print_model(store, ref)
    output.print(
        f"\n{store.path(ref)}  {bytes_in_words(manifest.num_bytes)} in {counted(len(manifest.files), 'file')}\n"
    )
    for name, record in list(manifest.files.items())[:MAX_FILES]:
        output.print(f"  {name}  {bytes_in_words(record.num_bytes)}")
    if len(manifest.files) > MAX_FILES:
        output.print(f"  and {len(manifest.files) - MAX_FILES} more")
    if ref.kind == "evaluation":
        for name in manifest.files:
            if name.endswith(".png"):
                output.print(f"picture: {store.path(ref) / name}", soft_wrap=True)
    output.print("\nWhat its stage noted:")
    output.print_json(data=manifest.summary)
    if TRIALS in manifest.files:
        print_table("Trials:", trials_table(store, ref))
    output.print(_tree(store, ref))
    made_by = manifest.provenance
    output.print(f"\nmade {made_by['made']} on {made_by['host']} by commit {made_by['commit'][:12]}")
    if run := made_by.get(RUN):
        output.print(f"in the Prefect run {run['name']!r} of the flow {run['flow']!r}, {run['page']}")
    output.print("\nThe preset that makes it again (save it as preset.yaml, then: taskdistill run preset.yaml):\n")
    output.print(dump_preset(settings))


def _print_model(store: ArtifactStore, ref: ArtifactRef) -> None:
    """Print what tells a model from others, and the scores of the evaluation that tells most of it."""
    evaluation = evaluation_of(store, ref)
    row = model_row(store, ref, evaluation)
    known = {name.replace("_", " "): value for name, value in row.items() if value not in (None, "", {})}
    output.print("; ".join(f"{name} {value}" for name, value in known.items() if name != "scores"))
    if evaluation:
        results = [result_of(store, ref, evaluation)]
        print_table("", score_table(results, store, f"scored in {evaluation.short}"))
        output.print(" ".join(score_notes(results, store)))


def _tree(store: ArtifactStore, ref: ArtifactRef, role: str = "") -> Tree:
    labels = [name for name, target in store.labels().items() if target == ref]
    inputs, remark = _inputs(store, ref)
    tree = Tree(f"{role + ': ' if role else ''}{ref.short} {' '.join(labels)}{remark}")
    for input_role, source in inputs.items():
        tree.add(_tree(store, source, input_role))
    return tree


def _lineage_rows(store: ArtifactStore, ref: ArtifactRef) -> dict[str, Any]:
    inputs, _ = _inputs(store, ref)
    return {"reference": str(ref), "inputs": {role: _lineage_rows(store, source) for role, source in inputs.items()}}


def _inputs(store: ArtifactStore, ref: ArtifactRef) -> tuple[Mapping[str, ArtifactRef], str]:
    """Return what an artifact was made from, and a remark where that cannot be told."""
    try:
        return store.manifest(ref).input_refs, ""
    except NotInStoreError:
        return {}, "(not here)"
    except NewerFormatError:
        return {}, "(made by a newer version)"
    except CorruptArtifactError:
        return {}, "(damaged: see 'taskdistill verify')"
