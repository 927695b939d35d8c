"""The commands that look after a store: show, list, label, verify, discard, collect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.tree import Tree

from configs.choices import nearest
from configs.loading import dump_preset, preset_names
from flows.planning import how_far
from flows.printing import AsJson, Reference, output, print_json, print_table, size_of
from storage.errors import NotInStoreError
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.stages import STAGES

commands = typer.Typer()

MAX_FILES = 12
MIN_PREFIX = 4


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
    output.print(f"{ref}\n{store.path(ref)}  {size_of(manifest.num_bytes)} in {len(manifest.files)} files\n")
    for name, record in list(manifest.files.items())[:MAX_FILES]:
        output.print(f"  {name}  {size_of(record.num_bytes)}", highlight=False, soft_wrap=True)
    if len(manifest.files) > MAX_FILES:
        output.print(f"  and {len(manifest.files) - MAX_FILES} more")
    output.print_json(data=manifest.summary)
    output.print(_tree(store, ref))
    made_by = manifest.provenance
    output.print(f"\nmade {made_by['made']} on {made_by['host']} by commit {made_by['commit'][:12]}")
    output.print("\nThe preset that makes it again (save it as preset.yaml, then: taskdistill run preset.yaml):\n")
    output.print(dump_preset(settings), markup=False, highlight=False, soft_wrap=True)


@commands.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(help="A kind such as model; all kinds when left out.")] = "*",
    as_json: AsJson = False,
) -> None:
    """List the artifacts of the store and their labels."""
    store = ArtifactStore.from_env()
    kinds = {stage.output for stage in STAGES}
    if kind != "*" and kind not in kinds:
        raise NotInStoreError(f"there is no kind {kind!r}{nearest(kind, kinds)}")
    labels = {str(ref): name for name, ref in store.labels().items()}
    rows = [
        {"reference": str(ref), "label": labels.get(str(ref), ""), "stage": manifest.recipe["stage"],
         "made": manifest.provenance["made"], "bytes": manifest.num_bytes}
        for ref in store.references(kind) for manifest in [store.manifest(ref)]
    ]  # fmt: skip
    if as_json:
        print_json({"artifacts": rows})
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("artifact", "stage", "made (UTC)", "size", "label"):
        table.add_column(column, no_wrap=column != "label")
    for row in sorted(rows, key=lambda row: row["made"]):
        table.add_row(
            ArtifactRef.parse(row["reference"]).short,
            row["stage"],
            row["made"].replace("T", " ")[:16],
            size_of(row["bytes"]),
            row["label"],
        )
    print_table(str(store.root), table)
    for ref in store.drafts():
        output.print(f"unfinished: {ref.short}, {how_far(store, ref)}")
    output.print(f"Presets: {', '.join(preset_names())}")


@commands.command()
def label(name: Annotated[str, typer.Argument(help="Such as birds-v1.")], reference: Reference) -> None:
    """Give an artifact a name; a name may move to another artifact later."""
    store = ArtifactStore.from_env()
    ref = store.resolve(reference)
    before = store.labels().get(name, ref)
    store.label(name, ref)
    moved = f", moved from {before.short}" if before != ref else ""
    output.print(f"{name} -> {ref.short}{moved}")


@commands.command()
def verify(
    reference: Annotated[str, typer.Argument(help="A label or reference; everything when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute every digest and name whatever differs; exit code 1 when something does."""
    from storage import upkeep

    store = ArtifactStore.from_env()
    refs = [store.resolve(reference)] if reference else store.references()
    damages = [damage for ref in refs for damage in upkeep.verify(store, ref)]
    if as_json:
        print_json(
            {"verified": len(refs), "damage": [damage._asdict() | {"ref": str(damage.ref)} for damage in damages]}
        )
    else:
        for damage in damages:
            output.print(f"{damage.ref.short} {damage.file}: {damage.problem}", soft_wrap=True)
        output.print(f"{len(refs)} artifacts verified, {len({damage.ref for damage in damages})} damaged")
        if damages:
            output.print(
                f"Repair: taskdistill discard {damages[0].ref.short} --with-dependents, then the run that made it"
            )
    if damages:
        raise typer.Exit(1)


@commands.command()
def discard(
    reference: Reference,
    with_dependents: Annotated[bool, typer.Option(help="Also remove all that was made from it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a broken artifact or an unfinished draft; refuses while others were made from it."""
    from storage import upkeep

    store = ArtifactStore.from_env()
    prefix = reference.rpartition("@")[2]
    drafts = [ref for ref in store.drafts() if len(prefix) >= MIN_PREFIX and ref.fingerprint.startswith(prefix)]
    ref = drafts[0] if len(drafts) == 1 else store.resolve(reference)
    removed = upkeep.discard(store, ref, with_dependents=with_dependents)
    _print_removed(removed, "removed", as_json=as_json)


@commands.command()
def collect(
    keep_days: Annotated[float, typer.Option(help="Keep what was made in these last days, and what it needs.")] = 1.0,
    yes: Annotated[bool, typer.Option("--yes", help="Really remove.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what no label, no draft and no recent artifact needs; shows it first, removes with --yes."""
    from storage import upkeep

    store = ArtifactStore.from_env()
    newer_than = datetime.now(UTC) - timedelta(days=keep_days) if keep_days else None
    refs = upkeep.collectable(store, newer_than=newer_than)
    if yes:
        upkeep.collect(store, refs)
    _print_removed(refs, "removed" if yes else "would be removed (add --yes)", as_json=as_json)


def _print_removed(refs: Sequence[ArtifactRef], verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"artifacts": [str(ref) for ref in refs], "state": verb})
        return
    for ref in refs:
        output.print(ref.short)
    output.print(f"{len(refs)} artifacts {verb}")


def _tree(store: ArtifactStore, ref: ArtifactRef, role: str = "") -> Tree:
    labels = [name for name, target in store.labels().items() if target == ref]
    tree = Tree(f"{role + ': ' if role else ''}{ref.short} {' '.join(labels)}")
    if ref in store:
        for input_role, source in store.manifest(ref).input_refs.items():
            tree.add(_tree(store, source, input_role))
    return tree


def _lineage_rows(store: ArtifactStore, ref: ArtifactRef) -> dict[str, Any]:
    inputs = store.manifest(ref).input_refs if ref in store else {}
    return {"reference": str(ref), "inputs": {role: _lineage_rows(store, source) for role, source in inputs.items()}}
