"""Where settings lie and point: variables in texts, and paths that mean the same wherever they are read.

A relative path in a file of settings is relative to that file. In `--set`, and in the presets that come with the
program, it is relative to the working folder. `~` is the home folder.
"""

import os
import re
from pathlib import Path
from typing import Any

from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.base import Settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.fields import Kind

_PROGRAM = Path(__file__).parents[1]


def resolved(value: Any, kind: Kind, folder: Path | None = None) -> Any:
    """Return a value with `${NAME}` replaced in every text and its paths made to start at `folder`, where there is one.

    Raises SettingsError where a variable or a user's home is not there.
    """
    match value:
        case None if kind.section:
            return {}  # a section whose lines are all commented out
        case dict():
            fields = kind.fields()
            return {name: resolved(item, fields.get(name, Kind(Any)), folder) for name, item in value.items()}
        case list():
            entry = kind.entry() if kind.is_list else Kind(Any)
            return [resolved(item, entry, folder) for item in value]
        case str():
            text = re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], value), value)
            return _placed(text, folder) if kind.is_location and text else text
        case _:
            return value


def portable(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON with every path absolute: they will be read in another folder, or another day."""
    values: dict[str, Any] = _absolute(settings.model_dump(mode="json", by_alias=True), Kind(type(settings)))
    return values


def _absolute(value: Any, kind: Kind) -> Any:
    match value:
        case dict():
            fields = kind.fields()
            return {name: _absolute(item, fields.get(name, Kind(Any))) for name, item in value.items()}
        case list() if kind.is_list:
            return [_absolute(item, kind.entry()) for item in value]
        case str() if kind.is_location and value:
            return str(Path(value).expanduser().absolute())
        case _:
            return value


def _placed(path: str, folder: Path | None) -> str:
    path = os.path.expanduser(path)
    if path.startswith("~"):
        user = path.partition("/")[0]
        raise SettingsError(
            f"the path {path!r} begins with the home folder of a user {user[1:]!r}, who is not known here; for a "
            f"folder of that name write ./{path}"
        )
    return path if folder is None else str(folder / path)


def with_program(value: Any) -> Any:
    """Return a value whose paths into this program start with `${TASKDISTILL}`, as they do in presets: wherever
    another one is installed, they are those of what comes with it.
    """
    match value:
        case dict():
            return {name: with_program(item) for name, item in value.items()}
        case list():
            return [with_program(item) for item in value]
        case str() if value.startswith(f"{_PROGRAM}/"):
            return f"${{TASKDISTILL}}{value.removeprefix(str(_PROGRAM))}"
    return value


def _variable(name: str, value: str) -> str:
    if name == "TASKDISTILL":
        return str(_PROGRAM)
    if name not in os.environ:
        found = without_credentials(value)
        raise SettingsError(f"the value {found!r} needs the environment variable {name}, which is not set")
    return os.environ[name]
