"""From a preset's name or a YAML file, with overrides, to a validated Experiment; errors a person can act on."""

import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.base import Settings
from configs.choices import nearest
from configs.errors import UserError
from configs.experiment import Experiment


class SettingsError(UserError, ValueError):
    """A preset, file or override that cannot be used; the message says what would be right."""


def preset_names() -> list[str]:
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("configs.presets").iterdir() if entry.name.endswith(".yaml")
    )


def load_experiment(source: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read preset or file `source`, apply overrides such as `distill.alpha=0.5`, and validate all of it.

    `${NAME}` in a text value is replaced by that environment variable, so that a preset need not know a machine's
    folders; `${TASKDISTILL}` by the folder this program is installed in, where the miniature's weights are.
    """
    values = _read(source)
    for override in overrides:
        _apply(values, override)
    try:
        return Experiment.model_validate(_expanded(values))
    except ValidationError as error:
        raise SettingsError(_explained(error, source)) from None


def dump_preset(experiment: dict[str, Any]) -> str:
    """Return an experiment's settings as a preset's YAML text."""
    return yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _read(source: str) -> dict[str, Any]:
    if source in preset_names():
        text = (files("configs.presets") / f"{source}.yaml").read_text()
    elif Path(source).is_file():
        text = Path(source).read_text()
    else:
        raise SettingsError(f"{source!r} is neither a preset nor a file{nearest(source, preset_names())}")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(
            f"{source} should hold settings such as 'data: {{path: ...}}', found {type(values).__name__}"
        )
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise SettingsError(f"--set {override!r}: expected name=value, such as distill.alpha=0.5")
    *sections, field = dotted.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SettingsError(f"--set {override!r}: {section!r} holds a value, not a section of settings")
    try:
        values[field] = yaml.safe_load(text)
    except yaml.YAMLError:
        values[field] = text


def _expanded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], value), value)
    return value


def _variable(name: str, value: str) -> str:
    if name == "TASKDISTILL":
        return str(Path(__file__).parents[1])
    if name not in os.environ:
        raise SettingsError(f"the value {value!r} needs the environment variable {name}, which is not set")
    return os.environ[name]


def _explained(error: ValidationError, source: str) -> str:
    lines = []
    for problem in error.errors():
        *parents, last = (str(part) for part in problem["loc"]) if problem["loc"] else ("",)
        dotted = ".".join([*parents, last]).strip(".")
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {dotted!r}{nearest(last, _field_names(parents))}")
        else:
            found = "" if isinstance(problem["input"], dict | Settings) else f" (found {problem['input']!r})"
            lines.append(f"{dotted or 'experiment'}: {problem['msg'].removeprefix('Value error, ')}{found}")
    return f"{source} cannot be used:\n" + "\n".join(f"  {line}" for line in lines)


def _field_names(parents: Sequence[str]) -> list[str]:
    model: Any = Experiment
    for parent in parents:
        model = model.model_fields[parent].annotation
    return [field.alias or name for name, field in model.model_fields.items()]
