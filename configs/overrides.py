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
    override: str
    """What was written, for errors."""

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
                raise SettingsError(f"--set {shown(self.override)}: {name!r} holds a value, not a section of settings")
            values = inner
        values[last] = self.value


def changes_of(override: str, form: type[Settings]) -> Iterator[Change]:
    """Yield the changes an override such as `distill.alpha=0.5` asks for; SettingsError where it cannot be read."""
    dotted, equals, text = override.partition("=")
    names = tuple(dotted.strip().split("."))
    if not equals or not all(names):
        raise SettingsError(f"--set {shown(override)}: expected name=value, such as distill.alpha=0.5")
    for end in range(1, len(names)):
        parent = kind_at(names[:end], form)
        if parent and (parent.is_list_of_sections or "[" in names[end - 1]):
            whole = names[end - 1].partition("[")[0]
            raise SettingsError(
                f"--set {shown(override)}: {whole} is a list, which is set as a whole: write {whole}='[{{name: ...}}, "
                "{name: ...}]'"
            )
        if parent and not parent.section and not parent.is_mapping and parent != Kind(Any):
            raise SettingsError(f"--set {shown(override)}: {names[end - 1]!r} holds a value, not a section of settings")
    kind = kind_at(names, form)
    value = _value(kind, text, override) if kind else text
    yield from _flattened(names, value, kind, override)


def _flattened(names: tuple[str, ...], value: Any, kind: Kind | None, override: str) -> Iterator[Change]:
    """Take a section apart into the settings named in it."""
    if not (kind and kind.section and isinstance(value, dict)):
        yield Change(names, value, override)
        return
    for name, inner in value.items():
        yield from _flattened((*names, name), inner, kind.fields().get(name), override)


def _value(kind: Kind, text: str, override: str) -> Any:
    source = f"--set {shown(override)}"
    if kind.is_text:
        return text
    written = text.strip()
    if kind.is_list:
        return _list(kind.entry(), written, override)
    if kind.section or kind.is_mapping:
        return parse(written, source) if written.startswith("{") else text
    return word(written, source) if kind.type is Any else number(written, source)


def _list(entry: Kind, written: str, override: str) -> Any:
    if written.startswith("["):
        return parse(written, f"--set {shown(override)}")
    if entry.section and written.startswith("{"):  # its commas are its own
        return parse(f"[{written}]", f"--set {shown(override)}")
    return [_value(entry, part.strip(), override) for part in written.split(",")] if written else ""
