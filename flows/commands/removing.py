"""The commands that take things out of a store: discard, collect."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from taskdistill.configs.counting import counted
from taskdistill.configs.errors import SettingsError
from taskdistill.flows.printing import AsJson, Reference, output, print_json
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
    found = (collecting.collect if yes else collecting.collectable)(store, newer_than=_days_ago(keep_days))
    verb = "removed" if yes else "would be removed (add --yes)"
    if as_json:
        kept = [{"reference": str(ref), "because": because} for ref, because in found.kept.items()]
        goes = [str(ref) for ref in found.goes]
        print_json({"artifacts": goes, "kept": kept, "unreadable": found.doubts, "state": verb})
    else:
        _print_collection(found, verb)
    if found.newer:
        raise typer.Exit(1)


def _print_collection(found: "Collection", verb: str) -> None:
    for ref, because in found.kept.items():
        output.print(f"kept  {ref.short}  {because}")
    for ref in found.goes:
        output.print(f"goes  {ref.short}")
    for problem in found.doubts:
        output.print(f"nothing is removed: {problem}", style="red")
    output.print(f"{len(found.kept)} artifacts kept, {len(found.goes)} {verb}")


def _days_ago(days: float) -> datetime | None:
    """Return when the last days began, None for no days; SettingsError where that is no number of days."""
    if not 0 <= days < math.inf:
        raise SettingsError(f"--keep-days {days:g}: expected a number of days, 0 or more, such as 7")
    return datetime.now(UTC) - timedelta(days=min(days, LONG_AGO_DAYS)) if days else None
