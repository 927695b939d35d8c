"""The commands that tell what there is to set: settings, presets, new."""

import itertools
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from taskdistill.configs.described import Described, described_settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_experiment, preset_names
from taskdistill.flows.completing import presets as complete_presets
from taskdistill.flows.completing import settings as complete_settings
from taskdistill.flows.presets import own_presets
from taskdistill.flows.printing import AsJson, output, print_json
from taskdistill.storage.files import atomic

commands = typer.Typer()

NO_MATCH = "no setting has {word!r} in its name or description: 'taskdistill settings' lists all of them"


@commands.command()
def settings(
    word: Annotated[
        str, typer.Argument(help="Only those with this in name or description.", autocompletion=complete_settings)
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List all settings of a preset: what each takes, its default, and what it does."""
    found = [one for one in described_settings() if one.fits(word)]
    if not found:
        raise SettingsError(NO_MATCH.format(word=word))
    if as_json:
        print_json({"settings": [one._asdict() for one in found]})
        return
    for one in found:
        output.print(f"{one.name} = {one.default}\n    {one.takes}. {one.description}".rstrip())


@commands.command()
def presets(as_json: AsJson = False) -> None:
    """List the presets that come with the program, and those of your own, with what each is for."""
    own = own_presets()
    texts = {name: _text_of(name) for name in preset_names()} | {name: _read(path) for name, path in own.items()}
    rows = [{"name": name, "about": about(text)} for name, text in texts.items()]
    if as_json:
        print_json({"presets": rows})
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("preset", no_wrap=True)
    table.add_column("what for")
    for row in rows:
        table.add_row(row["name"], row["about"])
    output.print(table, soft_wrap=False)


@commands.command()
def new(
    file: Annotated[Path, typer.Argument(help="A new YAML file, such as my.yaml.")],
    preset: Annotated[
        str, typer.Option("--from", help="The preset to start from.", autocompletion=complete_presets)
    ] = "small-cpu",
    as_json: AsJson = False,
) -> None:
    """Write a preset of your own to edit: that of another, with every other setting in comments below it."""
    if file.suffix not in (".yaml", ".yml"):
        raise SettingsError(f"{file}: let its name end in .yaml")
    if file.exists() or not file.absolute().parent.is_dir():
        raise SettingsError(f"{file} is there already, or its folder is not: name a new file")
    load_experiment(preset)  # one that cannot be used is told here
    text = _text_of(preset) if preset in preset_names() else _read(Path(preset))
    with atomic(file) as partial:
        partial.write_text(_to_edit(text, file, preset), encoding="utf-8")
    if as_json:
        print_json({"file": str(file.absolute()), "from": preset})
        return
    output.print(f"{file} is a copy of {preset}, with all other settings in comments. Set data.path in it, then:")
    output.print(f"    taskdistill plan {file}")


def about(text: str) -> str:
    """Return the first sentences of the comment that a preset begins with."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        lines.append(line.strip("# "))
    return " ".join(lines)


def _to_edit(text: str, file: Path, preset: str) -> str:
    body = list(itertools.dropwhile(lambda line: line.startswith("#"), text.splitlines()))
    name = file.stem if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", file.stem) else "mine"
    lines = [
        f"# A preset of your own, made from {preset}. Check it: taskdistill plan {file.name}",
        *(f"name: {name}" if line.startswith("name:") else line for line in body),
        "",
        "# All settings, with what each takes and what it is where nobody sets it. To change one, write it above: what",
        "# stands before the point is the section, as in 'training: {epochs: 20}'.",
        *(f"#\n# {_line(one)}" for one in described_settings()),
    ]
    return "\n".join(lines) + "\n"


def _line(one: Described) -> str:
    return f"{one.name} = {one.default}   ({one.takes}) {one.description}".rstrip()


def _text_of(preset: str) -> str:
    return (files("taskdistill.configs.presets") / f"{preset}.yaml").read_text(encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")
