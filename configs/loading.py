"""From a preset's name or a YAML file, with overrides, to a validated Experiment; errors a person can act on."""

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from taskdistill.configs import yaml_text
from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, kind_at
from taskdistill.configs.merging import merged
from taskdistill.configs.messages import explained, shown
from taskdistill.configs.overrides import Change, changes_of
from taskdistill.configs.places import resolved, with_program
from taskdistill.configs.runtime import RuntimeConfig


def preset_names() -> list[str]:
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("taskdistill.configs.presets").iterdir()
        if entry.name.endswith(".yaml")
    )


class Template(NamedTuple):
    """A preset or a file of settings as it is written."""

    source: str
    """Its name, for errors."""
    values: dict[str, Any]
    folder: Path | None
    """Where its relative paths start; a preset that comes with the program has none."""


def load_experiment(
    source: str, overrides: Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> Experiment:
    """Read preset or file `source`, put `settings` over it, which may be some settings only, then overrides such as
    `distill.alpha=0.5`, and validate all of it.

    Raises SettingsError, which lists every mistake. `${NAME}` in a text value is replaced by that environment variable,
    so that a preset need not know a machine's folders; `${TASKDISTILL}` by the folder this program is installed in,
    where the miniature's weights are.
    """
    template = read_template(source)
    values = merged(template.values, deepcopy(dict(settings or {})), Kind(Experiment))
    changes = [change for override in overrides for change in changes_of(override, Experiment)]
    given = [*(["other settings"] if settings else []), *(f"--set {override}" for override in overrides)]
    title = f"{source} with {' '.join(given)}" if given else source
    return changed(template._replace(source=title, values=values), changes)


def changed(template: Template, changes: Sequence[Change]) -> Experiment:
    """Return the experiment that a template with these changes describes; SettingsError, which lists every mistake."""
    values = deepcopy(template.values)
    for change in changes:
        change.take_out(values)
    values = resolved(values, Kind(Experiment), template.folder)
    for change in changes:
        kind = kind_at(change.names, Experiment) or Kind(Any)
        change._replace(value=resolved(change.value, kind)).put_in(values)
    return validated(values, template.source)


def load_runtime(overrides: Sequence[str], **defaults: Any) -> RuntimeConfig:
    """Return how work is to be done: defaults, with overrides such as `runtime.device=cpu` put over them; SettingsError
    where one is of something else, or cannot be used.
    """
    values: dict[str, Any] = {"runtime": defaults}
    for override in overrides:
        for change in changes_of(override, Experiment):
            if change.names[0] != "runtime":
                raise SettingsError(f"--set {shown(override)}: only settings of runtime are taken here")
            change.put_in(values)
    return validated(values, f"--set {' '.join(overrides)}").runtime


def validated(values: Mapping[str, Any], source: str) -> Experiment:
    """Return the experiment that plain values describe; SettingsError, which lists every mistake."""
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        said = [f"{without_credentials(source)} cannot be used:", *explained(error, Experiment)]
        raise SettingsError("\n  ".join(said)) from None


def dump_preset(experiment: dict[str, Any]) -> str:
    """Return an experiment's settings as a preset's YAML text."""
    return yaml_text.dump(with_program(experiment))


def read_template(source: str) -> Template:
    """Return what a preset or file holds; SettingsError where there is none, or it cannot be read."""
    if source in preset_names():
        text, folder = (files("taskdistill.configs.presets") / f"{source}.yaml").read_text(encoding="utf-8"), None
    else:
        text, folder = text_of_file(source, preset_names()), Path(source).absolute().parent
    values = yaml_text.parse(text, source)
    if not isinstance(values, dict):
        found = "nothing" if values is None else shown(values)
        raise SettingsError(f"{source} should hold settings such as 'data: {{path: ...}}', found {found}")
    return Template(source, values, folder)


def text_of_file(source: str, names: Sequence[str]) -> str:
    """Return the text of a file of settings; SettingsError where it is none, nor one of these names."""
    if os.path.isdir(source):
        raise SettingsError(
            f"{shown(source)} is a folder: name a preset, or a YAML file of settings{nearest(source, names)}"
        )
    if not os.path.isfile(source):
        raise SettingsError(f"{shown(source)} is neither a preset nor a file{nearest(source, names)}")
    try:
        with open(source, "rb") as file:
            data = file.read(yaml_text.MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror}") from None
    if len(data) > yaml_text.MAX_BYTES:
        raise SettingsError(f"{source} is larger than {yaml_text.MAX_BYTES} bytes: it is no file of settings")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{source}, line {line}: this is no text in UTF-8: save the file as UTF-8") from None
