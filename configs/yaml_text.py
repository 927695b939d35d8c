"""YAML as settings need it: data only, read one way.

YAML 1.1, which PyYAML speaks, reads `010` as eight, `1:30` as ninety, `no` as false, `2024-01-01` as a date and `1e-3`
as text, and lets nine lines of aliases grow to gigabytes. Here a plain word is a number when it is written like one in
decimal, `true`, `false`, `null`, or text. What people and programs read differently is refused with its line: octal,
hexadecimal and sexagesimal numbers, `yes`, `no`, `on`, `off`, and numbers that are not finite. So are anchors, aliases,
merge keys and tags, names given twice, and names that are no text. What `dump` writes is read again as it was.
"""

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

from taskdistill.configs.errors import SettingsError

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_DIGITS = 400

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)$")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*(_[0-9]+)*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$")
_NULL = re.compile(r"(~|null|Null|NULL|)$")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
_WORD = re.compile(r"(yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$")
_OTHER_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+(\.[0-9_]*)?|0[xXoObB][0-9a-fA-F_]+|[0-9][0-9_]*(:[0-9]+)*(\.[0-9_]*)?)$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
"""Numbers to some programs; those that are numbers to all were found before."""
_CORE, _REFUSED = "tag:yaml.org,2002:", "!refused"
_FIRST = list("-+.0123456789")


def _resolvers() -> dict[str | None, list[tuple[str, re.Pattern[str]]]]:
    """Return what plain words mean, by their first letter, in the form PyYAML wants: the first that matches counts."""
    table: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, letters in (
        (_CORE + "int", _INT, _FIRST),
        (_CORE + "float", _FLOAT, _FIRST),
        (_REFUSED, _OTHER_NUMBER, _FIRST),
        (_CORE + "null", _NULL, ["~", "n", "N", ""]),
        (_CORE + "bool", _BOOL, list("tTfF")),
        (_REFUSED, _WORD, list("yYnNoO")),
    ):
        for letter in letters:
            table.setdefault(letter, []).append((tag, pattern))
    return table


class _Loader(yaml.SafeLoader):
    """Reads; every refusal is a yaml.MarkedYAMLError with its line."""

    yaml_implicit_resolvers = _resolvers()
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _refusal("anchors (&) and aliases (*) are not read: write the values out", event.start_mark)
        if getattr(event, "tag", None):
            tag = event.tag.replace(_CORE, "!!")
            raise _refusal(f"tags such as {tag} are not read: settings are plain values", event.start_mark)
        if self.depth == MAX_DEPTH:
            raise _refusal(f"more than {MAX_DEPTH} brackets within each other", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            if not isinstance(name, str):
                written = key.value if isinstance(key, yaml.ScalarNode) else "a list or a section"
                raise _refusal(f"a name must be text, found {written or 'nothing'}: put it in quotes", key.start_mark)
            if name == "<<":
                raise _refusal("merge keys (<<) are not read: write the values out", key.start_mark)
            if name in seen:
                raise _refusal(f"{name!r} is there twice, first in line {seen[name]}: keep one", key.start_mark)
            seen[name] = line
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: Any) -> int:
        if len(text := self.construct_scalar(node)) > MAX_DIGITS:
            raise _refusal(f"{text[:20]}... has {len(text)} digits, too many for a number", node.start_mark)
        return int(text.replace("_", ""))

    def construct_yaml_float(self, node: Any) -> float:
        text = self.construct_scalar(node)
        if not math.isfinite(number := float(text.replace("_", ""))):
            raise _refusal(f"{text} is too large for a number", node.start_mark)
        return number

    def construct_refused(self, node: Any) -> Any:
        raise _refusal(_why_refused(self.construct_scalar(node)), node.start_mark)


_Loader.add_constructor(_CORE + "int", _Loader.construct_yaml_int)
_Loader.add_constructor(_CORE + "float", _Loader.construct_yaml_float)
_Loader.add_constructor(_REFUSED, _Loader.construct_refused)


class _Dumper(yaml.SafeDumper):
    """Writes so that the loader above reads the same: text that looks like something else goes in quotes."""

    yaml_implicit_resolvers = _resolvers()

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _why_refused(text: str) -> str:
    if _WORD.match(text):
        return (
            f"{text} is read as true or false by some and as text by others: write true or false, or {text!r} for text"
        )
    if re.search("inf|nan", text, re.IGNORECASE):
        return f"{text} is no finite number"
    return (
        f"{text} is read as different numbers by different programs: write it in decimal, without leading zeros, or "
        f"{text!r} for text"
    )


def parse(text: str, source: str) -> Any:
    """Return the plain values that a YAML text holds; SettingsError names the source and the line."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        why = ", ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in why:
            why = "a tab stands where blanks should: indent with blanks, as many for each setting of a section"
        raise SettingsError(f"{source}{line}: {why}") from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise SettingsError(
            f"{source}, line {line_number}: no text has the character U+{ord(text[error.position]):04X}"
        ) from None


def number(text: str, source: str) -> int | float | str:
    """Return the number that a text is; the text itself where it is none. SettingsError where it may be several."""
    is_one = any(pattern.match(text) for pattern in (_INT, _FLOAT, _OTHER_NUMBER))
    found: int | float | str = parse(text, source) if is_one else text
    return found


def word(text: str, source: str) -> Any:
    """Return what a plain word means, or what brackets and quotes hold; any other text is itself, `#` and all."""
    is_yaml = text[:1] in ("[", "{", '"', "'") or any(pattern.match(text) for pattern in (_NULL, _BOOL, _WORD))
    return parse(text, source) if is_yaml else number(text, source)


def dump(values: dict[str, Any]) -> str:
    """Return plain values as YAML."""
    text: str = yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return text
