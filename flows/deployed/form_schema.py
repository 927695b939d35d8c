"""Settings as a form in the Prefect UI: JSON schemas whose every rule is told in our words.

The server checks what is sent against the schema before there is a run. Where a bound is broken, jsonschema would say
"0 is less than the minimum of 0.001"; a condition whose other branch asks for a constant makes it say what we write
there: "'a number from 0.001 to 10000' was expected".

Two things are not shown, but taken from who sends them otherwise: the version of the form, and mappings such as
teacher.arguments, which the UI's schedules store as something else. In the UI they are set by a line of `overrides`.
A field without a default opens empty and is not sent: it stays as the preset says.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import WithJsonSchema

from taskdistill.configs.base import Settings
from taskdistill.configs.fields import Kind, dotted_names, kind_at
from taskdistill.configs.messages import expected, shown
from taskdistill.flows.deployed.line_values import line_pattern, value_pattern

Schema = dict[str, Any]

TITLES = {
    "data": "Dataset (data)",
    "teacher": "Teacher (teacher)",
    "student": "Student (student)",
    "foreign_teacher": "Teacher that was trained elsewhere (foreign_teacher)",
    "unlabelled": "Images without labels (unlabelled)",
    "generator": "Generator of blends (generator)",
    "blends": "Blends (blends)",
    "select": "Choice among synthetic images (select)",
    "views": "Augmented views (views)",
    "probe": "Probe of the teacher (probe)",
    "student_probe": "Probe of the student (student_probe)",
    "training": "Training of the students (training)",
    "teacher_finetuning": "Finetuning of a teacher (teacher_finetuning)",
    "distill": "Distillation (distill)",
    "tuning": "Settings that choose themselves (tuning)",
    "windows": "How images are shown for scoring (windows)",
    "runtime": "This machine (runtime)",
}
"""What each group of settings is for; the name in brackets is the one that `overrides` and presets write."""

_HIDDEN = "schema"
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}


def said(schema: Schema, rule: Schema, sentence: str) -> Schema:
    """Return a schema with one more rule, and what is said to have been expected where it is broken."""
    return schema | {"if": rule, "else": {"const": sentence}} if rule else schema


def form_of(form: type[Settings], description: str = "") -> Schema:
    """Return the schema of a section, with none of its settings required and none given."""
    return _section(Kind(form), description or _first_paragraph(form))


def field_schema(form: type[Settings], name: str) -> Schema:
    """Return the schema of one setting of a section, with its description and what it takes."""
    kind, field = Kind(form).fields()[name], _field(form, name)
    bounds = expected(kind) if _bounds(kind.entry() if kind.is_list else kind) else ""
    return _plain(kind) | {"title": name, "description": _described(field.description, bounds)}


def _setting(form: type[Settings], name: str) -> Schema:
    """The same of a setting of a preset, with what it is where the preset does not say."""
    kind, field = Kind(form).fields()[name], _field(form, name)
    if kind.section:
        description = _described(field.description) or _first_paragraph(kind.section)
        return _section(kind, description) | {"title": TITLES.get(name, name)}
    schema = field_schema(form, name)
    default = f"{shown(field.default)} unless the preset says" if field.default not in ("", ()) else ""
    return schema | {"description": _described(schema["description"], default)}


def _described(text: str | None, more: str = "") -> str:
    return " ".join([*(text or "").split(), *([f"({more})"] if more else [])])


def line_of_a_setting() -> Schema:
    """Return the schema of a line such as distill.alpha=0.5, as `--set` takes it."""
    from taskdistill.configs.experiment import Experiment

    line = line_that_names("a line such as distill.alpha=0.5, which begins with the name of a setting")
    # Within the branch, as the page draws a field for each of them elsewhere.
    return line | {"then": {"allOf": _values_of(dotted_names(Kind(Experiment)))}}


def line_that_names(sentence: str, *more: str) -> Schema:
    """Return the schema of a line that begins with the name of a setting, or one of `more`, and a = behind it."""
    from taskdistill.configs.experiment import Experiment

    leaves = list(dotted_names(Kind(Experiment)))
    names = {*more, *(name for leaf in leaves for name in (leaf, *_sections(leaf)))}
    # Names that no schema knows may follow these: teacher.arguments.depth, more_teachers[0].name.
    open_ended = [
        leaf for leaf in leaves if (kind := kind_at(leaf.split("."), Experiment)) and (kind.is_mapping or kind.is_list)
    ]
    pattern = rf"^\s*({_one_of(names)}|({_one_of(open_ended)})[.\[][^=]*)\s*="
    return said({"type": "string"}, {"pattern": pattern}, sentence)


def _values_of(leaves: Iterable[str]) -> list[Schema]:
    """Return a rule for each kind of value of a setting, or of several that are called alike in their sections."""
    from taskdistill.configs.experiment import Experiment

    alike: dict[tuple[str, str, str], list[str]] = {}
    for leaf in leaves:
        kind = kind_at(leaf.split("."), Experiment)
        if kind and (pattern := value_pattern(kind)):
            alike.setdefault((leaf.rpartition(".")[2], pattern, expected(kind)), []).append(leaf)
    return [
        {"if": {"pattern": line_pattern(names, pattern)}, "then": {"const": f"{last}=..., {words}"}}
        for (last, pattern, words), names in alike.items()
    ]


def _one_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names))


def _sections(leaf: str) -> list[str]:
    parts = leaf.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _section(kind: Kind, description: str) -> Schema:
    form = kind.section
    assert form
    fields = {name: field for name, field in kind.fields().items() if name != _HIDDEN and not field.is_mapping}
    properties = {name: _setting(form, name) for name in fields}
    schema = {"type": "object", "description": description, "properties": properties, "additionalProperties": False}
    hidden: Schema = {f"^{name}$": {} for name in kind.fields().keys() - fields.keys()}
    return schema | ({"patternProperties": hidden} if hidden else {})


def _plain(kind: Kind) -> Schema:
    if kind.is_list:
        return _list(kind)
    if kind.choices:
        return {"type": "string", "enum": list(kind.choices)}
    types = {int: "integer", float: "number", str: "string"}
    written = [marker.json_schema for marker in kind.markers if isinstance(marker, WithJsonSchema)]
    schema = {"type": types[kind.type]} | (written[0] if written and written[0] else {})
    if kind.type is str:
        return schema
    return said(schema, {"type": [schema["type"], "null"]} | _bounds(kind), expected(kind))


def _list(kind: Kind) -> Schema:
    entry = kind.entry()
    items = form_of(entry.section) if entry.section else _plain(entry)
    least = next((marker.min_length for marker in kind.markers if hasattr(marker, "min_length")), 0)
    size = {"minItems": kind.length, "maxItems": kind.length} if kind.length is not None else {"minItems": least}
    return said({"type": "array", "items": items}, {name: size[name] for name in size if size[name]}, expected(kind))


def _bounds(kind: Kind) -> Schema:
    """Return the bounds of a number."""
    return {
        key: getattr(marker, name)
        for marker in kind.markers
        for name, key in _BOUNDS.items()
        if getattr(marker, name, None) is not None
    }


def _field(form: type[Settings], name: str) -> Any:
    fields: Mapping[str, Any] = form.model_fields
    return next(field for known, field in fields.items() if name in (known, field.alias))


def _first_paragraph(form: type[Settings]) -> str:
    return inspect.cleandoc(form.__doc__ or "").partition("\n\n")[0]
