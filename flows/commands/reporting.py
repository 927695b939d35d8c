"""The command that writes a page about a run or some models."""

from pathlib import Path
from typing import Annotated

import typer

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_experiment, preset_names
from taskdistill.flows import completing
from taskdistill.flows.presets import own_presets
from taskdistill.flows.printing import AsJson, errors, output, print_json
from taskdistill.storage.store import ArtifactStore

commands = typer.Typer()

Names = Annotated[
    list[str],
    typer.Argument(
        help="A preset's name or a YAML file, as for run; or models: labels, references.",
        autocompletion=completing.references,
    ),
]


@commands.command()
def report(
    names: Names,
    set_: Annotated[list[str], typer.Option("--set", help="As for run; repeatable.")] = [],  # noqa: B006
    file: Annotated[Path | None, typer.Option("--output", help="The page. [default: in the store]")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file about a run that is in the store, or about some models beside each other."""
    from taskdistill.flows.reports.page.subjects import command_of, of_models, of_preset, place_of

    store = ArtifactStore.from_env()
    if len(names) == 1 and _is_preset(names[0]):
        experiment = load_experiment(names[0], set_)
        subject = of_preset(experiment, store, command_of(names[0], set_))
    elif set_:
        raise SettingsError("--set changes the settings of a preset: it has no place where models are named")
    else:
        subject = of_models(store, names)
    errors.print("writing the report")
    from taskdistill.flows.reports.page.writing import write_report  # seconds: after what may be wrong

    path = file or place_of(subject)
    write_report(path, subject)
    if as_json:
        print_json({"report": str(path.absolute())})
        return
    output.print(f"The report is {path.absolute()}: open it in a browser")


def _is_preset(name: str) -> bool:
    return name in preset_names() or name in own_presets() or name.endswith((".yaml", ".yml"))
