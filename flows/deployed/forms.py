"""Forms as the parameters of flows: what the UI draws, the server checks, and a run is handed.

A flow takes whatever it is sent and validates it itself, so that mistakes are told in our words; the types of its
parameters are there for the schema that Prefect makes of them.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar

from pydantic import WithJsonSchema
from pydantic_core import to_jsonable_python

from taskdistill.configs.base import Settings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.study import MODEL
from taskdistill.flows.deployed.form_schema import (
    Schema,
    field_schema,
    form_of,
    line_of_a_setting,
    line_that_names,
    said,
)
from taskdistill.flows.deployed.short_form import ShortForm
from taskdistill.flows.deployed.study_form import AS_STUDY
from taskdistill.flows.presets import preset_choices

FIRST, LAST = ("study", "preset", "experiment"), ("synthetic", "inputs", "rebuild_from", "overrides")

_A_NETWORK: tuple[Schema, str] = (
    {"pattern": r"^[^/\\:]*$"},
    "the name of a network that timm knows, such as resnet50.a1_in1k",
)
RULES: dict[str, tuple[Schema, str]] = {
    "data_path": ({"pattern": r"^($|/|~|\$\{)"}, "an absolute path, such as /data/birds"),
    "study": (
        {"pattern": r"^($|[a-z0-9][^/\\]*$|/|~|\$\{)"},
        "the name of a study, such as paper, or the absolute path of a file, such as /data/study.yaml",
    ),
    "teacher": _A_NETWORK,
    "student": _A_NETWORK,
    "temperature": (
        {"anyOf": [{"const": 0}, {"type": "number", "minimum": 1e-3, "maximum": 1e4}]},
        "a number from 0.001 to 10000, or 0 for that of the preset",
    ),
}
"""Parameter -> what holds for it beside its type, and what is said to have been expected where it does not."""

LINES = {
    "sweep": ("a line such as distill.temperature=1,2,4, which begins with the name of a setting",),
    "baseline": ("a line such as distill.temperature=2, or model=student finetuned", MODEL),
}
"""Parameter that is a list of lines -> what is said to have been expected, and names that no setting has."""

Function = TypeVar("Function", bound=Callable[..., Any])


def taking(form: type[Settings], roles: Mapping[str, Any] | None = None) -> Callable[[Function], Function]:
    """Return a decorator that gives a function of any named parameters those of a form, all of them optional.

    `roles` are the inputs of a stage, where it is one.
    """

    def with_signature(function: Function) -> Function:
        names = sorted(form.model_fields, key=_place)
        parameters = [_parameter(form, name, list(roles or {})) for name in names]
        function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return function

    return with_signature


def _place(name: str) -> int:
    if name in FIRST:
        return FIRST.index(name) - len(FIRST)
    return LAST.index(name) + 1 if name in LAST else 0


def _parameter(form: type[Settings], name: str, roles: list[str]) -> Parameter:
    default = to_jsonable_python(form.model_fields[name].get_default())
    annotation = Annotated[Any, WithJsonSchema(_schema(form, name, roles))]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _schema(form: type[Settings], name: str, roles: list[str]) -> Schema:
    # Mappings to who reads them, and forms to who fills them in.
    if name == "experiment":
        return form_of(Experiment, "All settings, in groups. What is empty stays as the preset says.")
    if name == "runs":
        return _list_of_runs()
    schema = field_schema(form, name)
    match name:
        case "preset":
            return schema | {"enum": [*([AS_STUDY] if "study" in form.model_fields else []), *preset_choices()]}
        case "sweep" | "baseline":
            return schema | {"items": line_that_names(*LINES[name])}
        case "overrides":
            return schema | {"items": line_of_a_setting()}
        case "inputs":
            return schema | {"items": _line_of_an_input(roles)}
    return said(schema, *RULES[name]) if name in RULES else schema


def _line_of_an_input(roles: list[str]) -> Schema:
    known = f"; this stage has the roles {', '.join(roles)}" if roles else "; but this stage reads no artifact"
    rule = {"pattern": rf"^({'|'.join(roles)})=\S" if roles else "^$"}
    return said({"type": "string"}, rule, f"a line role=artifact, such as logits=my-label{known}")


def _list_of_runs() -> Schema:
    names = sorted(ShortForm.model_fields, key=_place)
    fields = {name: _schema(ShortForm, name, []) | {"position": position} for position, name in enumerate(names)}
    run = {"type": "object", "properties": fields, "additionalProperties": False}
    description = "The runs, in turn: each a preset, and what is to be other than it says; what is empty stays."
    return said({"type": "array", "items": run, "description": description}, {"minItems": 1}, "at least one run")
