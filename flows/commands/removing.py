"""The commands that take things out of a store: discard, collect."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskdistill.configs.counting import counted
from taskdistill.configs.errors import SettingsError
from taskdistill.flows.commands.missing_store import say_if_missing
from taskdistill.flows.pipeline.models import role_of
from taskdistill.flows.pipeline.on_disk import OnDisk, others_on_disk
from taskdistill.flows.printing import AsJson, Reference, output, print_json
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

if TYPE_CHECKING:
    from taskdistill.storage.collecting import Collection

commands = typer.Typer()

LONG_AGO_DAYS = 365_000.0


@commands.command()
def discard(
    reference: Reference,
    with_dependents: Annotated[bool, typer.Option(help="Also remove all that was made from it.")] = False,
    with_labels: Annotated[bool, typer.Option(help="Also where some of that has a label.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a broken artifact or an unfinished draft; refuses while others were made from it, or a run needs it."""
    from taskdistill.storage import upkeep

    store = ArtifactStore.from_env()
    ref = upkeep.to_discard(store, reference)
    labels = store.labels()
    removed = upkeep.discard(store, ref, with_dependents=with_dependents, with_labels=with_labels)
    gone = {name: target for name, target in labels.items() if target in removed}
    if as_json:
        told = {"artifacts": [str(ref) for ref in removed], "labels": list(gone)}
        print_json(told | {"give_back": _give_back(gone), "state": "removed"})
        return
    for ref in removed:
        output.print(ref.short)
    labelled = f", with the label{'' if len(gone) == 1 else 's'} {', '.join(gone)}" if gone else ""
    output.print(f"{counted(len(removed), 'artifact')} removed{labelled}")
    if gone:
        output.print(f"Once made again, {'it gets its name' if len(gone) == 1 else 'they get their names'} back by:")
        output.print("\n".join(f"  {command}" for command in _give_back(gone)))


def _give_back(labels: Mapping[str, ArtifactRef]) -> list[str]:
    """Return the commands that set labels again: what is made anew by the same settings has the same reference."""
    return [f"taskdistill label {name} {ref.short}" for name, ref in labels.items()]


@commands.command()
def collect(
    keep_days: Annotated[float, typer.Option(help="Keep what was made in these last days, and what it needs.")] = 1.0,
    yes: Annotated[bool, typer.Option("--yes", help="Really remove.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what no label, draft, running run or recent artifact needs; shows it first, removes with --yes.

    Nothing goes, and the exit code is 1, where a newer version has made something in the store.
    """
    from taskdistill.storage import collecting

    store = ArtifactStore.from_env()
    say_if_missing(store)
    found = (collecting.collect if yes else collecting.collectable)(store, newer_than=_days_ago(keep_days))
    state = "removed" if yes else "would be removed (add --yes)"
    rest = others_on_disk(store)
    if as_json:
        print_json(_collection_json(found, rest) | {"state": state})
    else:
        _print_collection(found, rest, keep_days, is_done=yes)
    if found.newer:
        raise typer.Exit(1)


def _print_collection(found: "Collection", rest: Sequence[OnDisk], keep_days: float, *, is_done: bool) -> None:
    for ref, because in found.kept.items():
        output.print(f"kept  {ref.short}  {_described(found, ref)}: {because}")
    for ref in found.goes:
        output.print(f"goes  {ref.short}  {_described(found, ref)}")
    for problem in found.doubts:
        output.print(f"nothing is removed: {problem}", style="red")
    if keep_days and found.kept:
        output.print(f"--keep-days is {keep_days:g}: with fewer days less is kept for its age alone, with 0 nothing")
    if rest:
        output.print("This takes room too, and is not removed here:")
    for one in rest:
        output.print(f"  {one.what}, {bytes_in_words(one.num_bytes)}: {one.command}")
    freed = bytes_in_words(found.freed_bytes)
    goes = f"{len(found.goes)} removed, which frees {freed}"
    if not is_done:
        goes = f"{len(found.goes)} would be removed, which would free {freed} (add --yes)"
    output.print(f"{counted(len(found.kept), 'artifact')} kept, {goes}")


def _collection_json(found: "Collection", rest: Sequence[OnDisk]) -> dict[str, Any]:
    def row(ref: ArtifactRef) -> dict[str, Any]:
        return {"reference": str(ref), "role": role_of(ref, found.manifests[ref]), "bytes": found.num_bytes[ref]}

    return {
        "artifacts": [str(ref) for ref in found.goes],
        "goes": [row(ref) for ref in found.goes],
        "kept": [row(ref) | {"because": because} for ref, because in found.kept.items()],
        "frees_bytes": found.freed_bytes,
        "not_removed": [{"what": one.what, "bytes": one.num_bytes, "command": one.command} for one in rest],
        "unreadable": found.doubts,
    }


def _described(found: "Collection", ref: ArtifactRef) -> str:
    return f"{role_of(ref, found.manifests[ref])}, {bytes_in_words(found.num_bytes[ref])}"


def _days_ago(days: float) -> datetime | None:
    """Return when the last days began, None for no days; SettingsError where that is no number of days."""
    if not 0 <= days < math.inf:
        raise SettingsError(f"--keep-days {days:g}: expected a number of days, 0 or more, such as 7")
    return datetime.now(UTC) - timedelta(days=min(days, LONG_AGO_DAYS)) if days else None
