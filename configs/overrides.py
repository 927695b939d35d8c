"""Changes on the command line, `--set name=value`: what a value means depends on the setting it is for.

A text is exactly what stands behind the first `=`, blanks and all. A list takes `[0, 1, 2]` as well as `0,1,2`, and a
single entry; it is set as a whole. A number is one in decimal. A section, and a mapping such as `teacher.arguments`, is
written as YAML in braces; a section changes by what is named in it and keeps the rest.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

from taskdistill.configs.base import Settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.fields import Kind, kind_at
from taskdistill.configs.messages import shown
from taskdistill.configs.yaml_text import number, parse, word


class Change(NamedTuple):
    """One setting and its new value, not yet validated."""

    names: tuple[str, ...]
    value: Any
    source: str
    """What was written and where, for errors, such as "--set 'distill.alpha=0.5'"."""

    def take_out(self, values: MutableMapping[str, Any]) -> None:
        """Remove what is to be set anew: nobody need be able to read it."""
        *sections, last = self.names
        for name in sections:
            inner = values.get(name)
            if not isinstance(inner, dict):
                return
            values = inner
        values.pop(last, None)

    def put_in(self, values: MutableMapping[str, Any]) -> None:
        """Set the value, making the sections it lies in; SettingsError where one of them is a value."""
        *sections, last = self.names
        for name in sections:
            inner = values.setdefault(name, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{self.source}: {name!r} holds a value, not a section of settings")
            values = inner
        values[last] = self.value


def changes_of(override: str, form: type[Settings]) -> Iterator[Change]:
    """Yield the changes an override such as `distill.alpha=0.5` asks for; SettingsError where it cannot be read."""
    dotted, equals, text = override.partition("=")
    source = f"--set {shown(override)}"
    if not equals or not all(_names_of(dotted)):
        raise SettingsError(f"{source}: expected name=value, such as distill.alpha=0.5")
    kind = kind_of(dotted, form, source)
    yield from changes_to(dotted, value_of(text, kind, source) if kind else text, form, source)


def changes_to(dotted: str, value: Any, form: type[Settings], source: str) -> Iterator[Change]:
    """Yield the changes that a value of the setting of this name asks for: of a section, one for each setting that is
    named in it.
    """
    yield from _flattened(_names_of(dotted), value, kind_of(dotted, form, source), source)


def kind_of(dotted: str, form: type[Settings], source: str) -> Kind | None:
    """Return what the setting of a dotted name takes; None where there is none; SettingsError where it lies within a
    list, or in what is no section.
    """
    names = _names_of(dotted)
    for end in range(1, len(names)):
        parent = kind_at(names[:end], form)
        if parent and (parent.is_list_of_sections or "[" in names[end - 1]):
            whole = names[end - 1].partition("[")[0]
            raise SettingsError(
                f"{source}: {whole} is a list, which is set as a whole: write {whole}='[{{name: ...}}, {{name: ...}}]'"
            )
        if parent and not parent.section and not parent.is_mapping and parent != Kind(Any):
            raise SettingsError(f"{source}: {names[end - 1]!r} holds a value, not a section of settings")
    return kind_at(names, form)


def _names_of(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.strip().split("."))


def _flattened(names: tuple[str, ...], value: Any, kind: Kind | None, source: str) -> Iterator[Change]:
    """Take a section apart into the settings named in it."""
    if not (kind and kind.section and isinstance(value, dict)):
        yield Change(names, value, source)
        return
    for name, inner in value.items():
        yield from _flattened((*names, name), inner, kind.fields().get(name), source)


def value_of(text: str, kind: Kind, source: str) -> Any:
    """Return what a text means for a setting of this kind; SettingsError where it cannot be read."""
    if kind.is_text:
        return text
    written = text.strip()
    if kind.is_list:
        return _list(kind.entry(), written, source)
    if kind.section or kind.is_mapping:
        return parse(written, source) if written.startswith("{") else text
    return word(written, source) if kind.type is Any else number(written, source)


def _list(entry: Kind, written: str, source: str) -> Any:
    if written.startswith("["):
        return parse(written, source)
    if entry.section and written.startswith("{"):  # its commas are its own
        return parse(f"[{written}]", source)
    return [value_of(part.strip(), entry, source) for part in written.split(",")] if written else ""
