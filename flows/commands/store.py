"""The commands that look after a store: list, label, verify. Those that take away are in flows.commands.removing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from taskdistill.configs.choices import nearest
from taskdistill.configs.counting import counted
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import preset_names
from taskdistill.flows import completing
from taskdistill.flows.commands.missing_store import say_if_missing
from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.flows.pipeline.models import remark_on
from taskdistill.flows.printing import AsJson, Reference, output, print_json, print_table
from taskdistill.flows.reports.models import model_rows, models_table
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.root import ROOT_VARIABLE
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES

if TYPE_CHECKING:
    from taskdistill.storage.upkeep import Verified  # zarr and pyarrow, only where there is something to verify

commands = typer.Typer()


@commands.command(name="list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="A kind such as model; all kinds when left out.", autocompletion=completing.kinds)
    ] = "*",
    as_json: AsJson = False,
) -> None:
    """List the artifacts of the store and their labels; exit code 1 where a newer version made some."""
    store = ArtifactStore.from_env()
    say_if_missing(store)
    kinds = {stage.output for stage in STAGES}
    if kind != "*" and kind not in kinds:
        raise NotInStoreError(f"there is no kind {kind!r}{nearest(kind, kinds)}")
    rows, damaged, newer = _rows(store, kind)
    if kind == "model":
        known = model_rows(store, [ArtifactRef.parse(row["reference"]) for row in rows])
        rows = [row | known[ArtifactRef.parse(row["reference"])] for row in rows]
    if kind == "evaluation":
        from taskdistill.flows.pipeline.comparable import what_was_scored  # pyarrow

        rows = [row | {"what": what_was_scored(store, ArtifactRef.parse(row["reference"]))} for row in rows]
    if as_json:
        print_json({"artifacts": rows, "damaged": damaged, "newer": newer, "unreadable": store.unreadable()})
    else:
        _print_list(store, kind, rows, [*damaged, *newer, *store.unreadable()])
    if newer:
        raise typer.Exit(1)


def _print_list(store: ArtifactStore, kind: str, rows: Sequence[Mapping[str, Any]], problems: Sequence[str]) -> None:
    rows = sorted(rows, key=lambda row: row["made"])
    print_table(str(store.root), models_table(rows) if kind == "model" else _artifacts_table(rows))
    for problem in problems:
        output.print(problem, style="red")
    for ref in store.drafts():
        output.print(f"unfinished: {ref.short}, {kept_work(store, ref)}")
    output.print(f"Presets: {', '.join(preset_names())}")


def _artifacts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    has_what = any("what" in row for row in rows)
    for column in ("artifact", "stage", *(["what"] if has_what else []), "made (UTC)", "size", "label"):
        table.add_column(column, no_wrap=column != "label")
    for row in rows:
        table.add_row(
            ArtifactRef.parse(row["reference"]).short,
            row["stage"],
            *([row["what"]] if has_what else []),
            row["made"].replace("T", " ")[:16],
            bytes_in_words(row["bytes"]),
            row["label"],
        )
    return table


def _rows(store: ArtifactStore, kind: str) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Return a row for each artifact, what is wrong with those whose manifest cannot be read, and what a newer
    version made.
    """
    labels: dict[ArtifactRef, list[str]] = {}
    for name, ref in store.labels().items():
        labels.setdefault(ref, []).append(name)
    rows, damaged, newer = [], list(store.broken().values()), []
    for ref in store.references(kind):
        try:
            manifest = store.manifest(ref)
        except CorruptArtifactError as error:
            damaged.append(str(error))
        except NewerFormatError as error:
            newer.append(str(error))
        except NotInStoreError:  # removed since it was listed
            continue
        else:
            rows.append(
                {"reference": str(ref), "label": " ".join(labels.get(ref, [])), "stage": manifest.recipe["stage"],
                 "made": manifest.provenance["made"], "bytes": manifest.num_bytes}
            )  # fmt: skip
    return rows, damaged, newer


@commands.command()
def label(
    name: Annotated[str, typer.Argument(help="Such as birds-v1.")],
    reference: Reference = "",
    remove: Annotated[bool, typer.Option("--remove", help="Forget the name; what it names stays.")] = False,
) -> None:
    """Give an artifact a name; a name may move to another artifact later, or be removed."""
    store = ArtifactStore.from_env()
    if remove:
        _remove_label(store, name, reference)
        return
    if not reference:
        raise SettingsError(f"name what {name!r} is to mean: taskdistill label {name} REFERENCE, or --remove")
    ref = store.resolve(reference)
    before = store.labels().get(name, ref)
    store.label(name, ref)
    moved = f", moved from {before.short}" if before != ref else ""
    output.print(f"{name} -> {ref.short}{moved}")
    for remark in remark_on(store, ref) if ref.kind == "model" else []:
        output.print(remark)


def _remove_label(store: ArtifactStore, name: str, reference: str) -> None:
    """Forget a name. Raises NotInStoreError where it is none, or not that of what is named beside it."""
    labels = store.labels()
    if name not in labels and name not in store.unreadable_labels():
        raise NotInStoreError(f"there is no label {name!r}{nearest(name, labels)}")
    if reference and store.resolve(reference) != labels.get(name):
        raise NotInStoreError(f"{name!r} is not the name of {reference}: leave it out, and the name alone is removed")
    store.remove_label(name)
    meant = f", which was {labels[name].short}" if name in labels else ""
    output.print(f"removed the label {name}{meant}; what it named stays until 'taskdistill collect'")


@commands.command()
def verify(
    reference: Annotated[str, typer.Argument(help="A label or reference; everything when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute every digest and what the files' formats prove; name whatever differs, with exit code 1."""
    from taskdistill.storage.upkeep import verify_all, verify_one

    store = ArtifactStore.from_env()
    if not store.root.is_dir():  # a mistyped backup must not pass for one in which nothing is damaged
        raise NotInStoreError(f"there is no store to verify: {store.root} is no folder. Let {ROOT_VARIABLE} name it")
    found = verify_one(store, store.resolve(reference)) if reference else verify_all(store)
    if as_json:
        damage = [damage._asdict() | {"ref": str(damage.ref)} for damage in found.damages]
        counts = {"verified": found.num_verified, "without_digest": found.num_without_digest}
        print_json(counts | {"damage": damage, "newer": found.newer, "unreadable": found.unreadable})
    else:
        _print_verified(found, store)
    if found.damages or found.unreadable or found.newer:
        raise typer.Exit(1)


def _print_verified(found: "Verified", store: ArtifactStore) -> None:
    for damage in found.damages:
        where = f"{damage.file}: " if damage.file else ""
        output.print(f"{damage.ref.short} {where}{damage.problem}")
    for problem in [*found.unreadable, *found.newer]:
        output.print(problem, style="red")
    not_verified = f", {len(found.newer)} of a newer version not looked at" if found.newer else ""
    num_damaged = len({damage.ref for damage in found.damages})
    output.print(
        f"{counted(found.num_verified, 'artifact')} verified, {num_damaged} damaged{not_verified}, in {store.root}"
    )
    if found.num_without_digest:
        output.print(
            f"{counted(found.num_without_digest, 'was', 'were')} made before manifests had a digest: a changed score "
            "or date is not found there"
        )
    if found.damages:
        output.print(
            f"Repair: taskdistill discard {found.damages[0].ref.short} --with-dependents, then the run that made it"
        )
