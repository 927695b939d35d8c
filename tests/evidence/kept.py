"""The answers of a trial as a file, so that a page can be made of trials that ran on different machines."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ConfigDict, TypeAdapter

from tests.evidence.answers import Answer

FOLDER = "evidence"
"""Where the answers lie, beside the page."""


class Told(NamedTuple):
    """What a trial answered, what it took, and what is to be known of its models."""

    answers: list[Answer]
    took: str
    said: list[str]
    by: str
    """Version of the program, and the machine."""


# An error of one world is NaN, which JSON has no number for.
_TOLD = TypeAdapter(Told, config=ConfigDict(ser_json_inf_nan="strings"))


def keep(told: Told, folder: Path, trial: str) -> None:
    """Write what a trial told into `folder`, instead of what it told before."""
    folder.mkdir(parents=True, exist_ok=True)
    _path(folder, trial).write_bytes(_TOLD.dump_json(told, indent=1))


def all_kept(folder: Path, trials: Mapping[str, object]) -> dict[str, Told]:
    """Return what the trials told that have run, by their names, in the order of `trials`."""
    return {
        name: _TOLD.validate_json(_path(folder, name).read_bytes()) for name in trials if _path(folder, name).is_file()
    }


def _path(folder: Path, trial: str) -> Path:
    return folder / f"{trial}.json"
