"""The command line. Torch is imported only when there is work, so that help and plan answer in about a second."""

import errno
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.tree import Tree

from configs.errors import UserError
from configs.loading import SettingsError, dump_preset, load_experiment, preset_names
from flows.planning import Step, make_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Distil a large pretrained vision model into a small one for your own task.",
)
errors = Console(stderr=True)
output = Console()

Source = Annotated[str, typer.Argument(help="A preset's name, or a YAML file.")]
Reference = Annotated[str, typer.Argument(help="A label, or a reference such as model@3f9c12ab.")]
Overrides = Annotated[list[str], typer.Option("--set", help="Change a setting: --set distill.alpha=0.5; repeatable.")]
Synthetic = Annotated[str, typer.Option(help="Image-set of synthetic images: a label or reference.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main() -> None:
    """Run the command line; errors meant for people are printed without a traceback."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=errors, show_path=False, show_time=False)],
    )
    for chatty in ("httpx", "timm"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        errors.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        errors.print(
            f"[bold red]error:[/] the disk is full ({_plain(error)}). Finished artifacts are not affected: free "
            "some space, for "
            "example with 'taskdistill collect', and run the same command again; it continues where it stopped",
            soft_wrap=True,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped; the same command continues where it was")
        sys.exit(130)


def _plain(error: Exception) -> str:
    return str(error).replace("[", "\\[")


@app.command()
def plan(source: Source, set_: Overrides = [], synthetic: Synthetic = "", as_json: AsJson = False) -> None:  # noqa: B006
    """Say what a run would do: have, resume, build, or stale because of what; and how large it will be."""
    store = ArtifactStore.from_env()
    experiment = load_experiment(source, set_)
    steps = make_plan(experiment, store, synthetic=_synthetic(store, synthetic)).steps
    if as_json:
        _print_json({"store": str(store.root), "stages": [_step_row(step) for step in steps]})
        return
    table = Table(title=f"{experiment.name} in {store.root}")
    for column in ("step", "action", "", "size", "artifact"):
        table.add_column(column, overflow="fold")
    for step in steps:
        size = "?" if step.num_bytes is None else ("" if step.action == "have" else "~") + _bytes(step.num_bytes)
        table.add_row(step.name, step.action, step.because, size, step.ref.short)
    output.print(table)


@app.command()
def run(source: Source, set_: Overrides = [], synthetic: Synthetic = "", as_json: AsJson = False) -> None:  # noqa: B006
    """Run the whole pipeline, doing only what is missing, and print the scores."""
    from flows.results import score_rows, score_table
    from flows.running import in_this_process, run_plan

    store = ArtifactStore.from_env()
    experiment = load_experiment(source, set_)
    do = in_this_process(experiment, store, errors)
    results, stages = run_plan(experiment, store, do, synthetic=_synthetic(store, synthetic))
    if as_json:
        _print_json({"scores": score_rows(results, store), "stages": stages})
        return
    output.print(score_table(results, store, experiment.name))
    best = results[-1].artifact
    output.print(f"\nThe distilled student is {best.short}, in {store.path(best)}")
    output.print(
        f"Look at it:  taskdistill show {best.short}\nName it:     taskdistill label {experiment.name} {best.short}"
    )


@app.command()
def stage(
    name: Annotated[
        str, typer.Argument(help="A step such as distill-seed0, or a stage such as distill: all its steps.")
    ],
    source: Source,
    set_: Overrides = [],  # noqa: B006
    inputs: Annotated[list[str], typer.Option("--input", help="Another input: --input logits=LABEL; repeatable.")] = [],  # noqa: B006
    synthetic: Synthetic = "",
    as_json: AsJson = False,
) -> None:
    """Run one stage alone; what it needs must be in the store."""
    from flows.running import in_this_process, run_steps

    store = ArtifactStore.from_env()
    experiment = load_experiment(source, set_)
    given = dict(_input(store, text) for text in inputs)
    do = in_this_process(experiment, store, errors)
    made = run_steps(experiment, name, store, do, inputs=given, synthetic=_synthetic(store, synthetic))
    if as_json:
        _print_json({"made": [str(ref) for ref in made]})
        return
    for ref in made:
        output.print(f"{ref}  {store.path(ref)}")


@app.command()
def serve(
    source: Annotated[str, typer.Argument(help="A preset or YAML file that the forms open with.")] = "",
    set_: Overrides = [],  # noqa: B006
    limit: Annotated[int, typer.Option(min=1, help="Runs at the same time; the others wait.")] = 1,
) -> None:
    """Offer the pipeline and every single stage to a Prefect server, and run what it asks for; until Ctrl-C."""
    from flows.serving import serve_all

    serve_all(load_experiment(source, set_) if source else None, limit=limit)


@app.command()
def show(reference: Reference, as_json: AsJson = False) -> None:
    """Print an artifact's scores, lineage, files, and the preset that makes it again."""
    store = ArtifactStore.from_env()
    ref = store.resolve(reference)
    manifest = store.manifest(ref)
    settings = manifest.provenance.get("settings", {})
    if as_json:
        lineage = _lineage_rows(store, ref)
        _print_json({"manifest": manifest.model_dump(mode="json"), "lineage": lineage, "preset": settings})
        return
    output.print(f"[bold]{ref}[/]\n{store.path(ref)}  {_bytes(manifest.num_bytes)} in {len(manifest.files)} files\n")
    output.print_json(data=manifest.summary)
    output.print(_tree(store, ref))
    made_by = manifest.provenance
    output.print(f"\nmade {made_by['made']} on {made_by['host']} by commit {made_by['commit'][:12]}")
    output.print("\nThe preset that makes it again (save it as preset.yaml, then: taskdistill run preset.yaml):\n")
    output.print(dump_preset(settings), markup=False, highlight=False, soft_wrap=True)


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(help="A kind such as model; all kinds when left out.")] = "*",
    as_json: AsJson = False,
) -> None:
    """List the artifacts of the store and their labels."""
    store = ArtifactStore.from_env()
    labels = {str(ref): name for name, ref in store.labels().items()}
    rows = [
        {"reference": str(ref), "label": labels.get(str(ref), ""), "stage": manifest.recipe["stage"],
         "made": manifest.provenance["made"], "bytes": manifest.num_bytes}
        for ref in store.references(kind) for manifest in [store.manifest(ref)]
    ]  # fmt: skip
    if as_json:
        _print_json({"artifacts": rows})
        return
    table = Table("artifact", "label", "stage", "made", "size", title=str(store.root))
    for row in sorted(rows, key=lambda row: row["made"]):
        table.add_row(
            ArtifactRef.parse(row["reference"]).short, row["label"], row["stage"], row["made"], _bytes(row["bytes"])
        )
    output.print(table)
    output.print(f"Presets: {', '.join(preset_names())}")


@app.command()
def label(name: Annotated[str, typer.Argument(help="Such as birds-v1.")], reference: Reference) -> None:
    """Give an artifact a name; a name may move to another artifact later."""
    store = ArtifactStore.from_env()
    ref = store.resolve(reference)
    store.label(name, ref)
    output.print(f"{name} -> {ref.short}")


@app.command()
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
        _print_json(
            {"verified": len(refs), "damage": [damage._asdict() | {"ref": str(damage.ref)} for damage in damages]}
        )
    else:
        for damage in damages:
            output.print(f"[red]{damage.ref.short}[/] {damage.file}: {damage.problem}", soft_wrap=True)
        output.print(f"{len(refs)} artifacts verified, {len({damage.ref for damage in damages})} damaged")
        if damages:
            output.print(
                f"Repair: taskdistill discard {damages[0].ref.short} --with-dependents, then the run that made it"
            )
    if damages:
        raise typer.Exit(1)


@app.command()
def discard(
    reference: Reference,
    with_dependents: Annotated[bool, typer.Option(help="Also remove all that was made from it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a broken artifact or an unfinished draft; refuses while others were made from it."""
    from storage import upkeep

    store = ArtifactStore.from_env()
    drafts = [ref for ref in store.drafts() if reference in (str(ref), ref.short, ref.fingerprint)]
    ref = drafts[0] if drafts else store.resolve(reference)
    removed = upkeep.discard(store, ref, with_dependents=with_dependents)
    _print_removed(removed, "removed", as_json=as_json)


@app.command()
def collect(
    keep_days: Annotated[float, typer.Option(help="Keep what was made in these last days, and what it needs.")] = 0.0,
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
        _print_json({"artifacts": [str(ref) for ref in refs], "state": verb})
        return
    for ref in refs:
        output.print(ref.short)
    output.print(f"{len(refs)} artifacts {verb}")


def _synthetic(store: ArtifactStore, text: str) -> ArtifactRef | None:
    return store.resolve(text, "image-set") if text else None


def _input(store: ArtifactStore, text: str) -> tuple[str, ArtifactRef]:
    role, equals, name = text.partition("=")
    if not equals:
        raise SettingsError(f"--input {text!r}: expected role=artifact, such as logits=logits@3f9c12ab")
    return role, store.resolve(name)


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "stage": step.stage.name,
        "action": step.action,
        "because": step.because,
        "reference": str(step.ref),
        "bytes": step.num_bytes,
    }


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


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


if __name__ == "__main__":
    main()
