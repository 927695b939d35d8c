"""All settings in words: what each takes, what it is where nobody sets it, and what it does."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from taskdistill.configs.base import Settings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind
from taskdistill.configs.messages import expected, shown

_HIDDEN = "schema"
"""The version of the form, which nobody sets."""


class Described(NamedTuple):
    """One setting."""

    name: str
    """As --set writes it, such as training.learning_rate."""
    takes: str
    """Such as "a number from 0 to 1"."""
    default: str
    description: str
    """In one line."""

    def fits(self, word: str) -> bool:
        """Whether a word stands in its name or description, capitals aside."""
        return word.casefold() in f"{self.name} {self.description}".casefold()


def described_settings() -> list[Described]:
    """Return every setting of a preset, in the order of the form."""
    return list(_section(Experiment(), ""))


def _section(section: Settings, prefix: str) -> Iterator[Described]:
    kinds = Kind(type(section)).fields()
    for attribute, field in type(section).model_fields.items():
        name, value = field.alias or attribute, getattr(section, attribute)
        if isinstance(value, Settings):
            yield from _section(value, f"{prefix}{name}.")
        elif name != _HIDDEN:
            description = " ".join((field.description or "").split())
            yield Described(f"{prefix}{name}", expected(kinds[name]), _written(value), description)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return shown([entry.model_dump(mode="json") if isinstance(entry, Settings) else entry for entry in value])
    return shown(value)
