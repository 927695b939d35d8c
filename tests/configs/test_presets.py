"""The shipped presets, and the form that the Prefect UI draws from the settings."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from pydantic import BaseModel

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment, preset_names
from taskdistill.tasks.catalog import STAGES

FORMS: list[type[BaseModel]] = [Experiment, *dict.fromkeys(stage.config_type for stage in STAGES)]


@pytest.fixture
def any_variable_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in preset_names():
        for variable in re.findall(r"\$\{(\w+)\}", preset_text(name)):
            monkeypatch.setenv(variable, "/data")


def preset_text(name: str) -> str:
    return (files("taskdistill.configs.presets") / f"{name}.yaml").read_text()


def leaves(schema: dict[str, Any], definitions: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, Any, int]]:
    """Yield each field that is no section: its name, its schema, and how many sections it lies in."""
    for name, field in schema["properties"].items():
        section = definitions.get(field.get("$ref", "").removeprefix("#/$defs/"), {})
        if "properties" in section:
            yield from leaves(section, definitions, depth + 1)
        else:
            yield name, field, depth


def fields_of(form: type[BaseModel]) -> list[tuple[str, Any, int]]:
    schema = form.model_json_schema()
    return list(leaves(schema, schema.get("$defs", {})))


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.usefixtures("any_variable_set")
def test_a_preset_is_valid_and_called_by_its_file_name(name: str):
    assert load_experiment(name).name == name


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_opens_with_a_header_that_shows_its_command(name: str):
    header = re.match(r"(#.*\n)+", preset_text(name))
    assert header, "a preset opens with comments: the command, how long it takes on what, the score to expect"
    assert re.search(rf"taskdistill \w+.*\b{name}\b", header[0])
    assert header[0].count("\n") >= 3


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_which_schema_it_has(name: str):
    assert re.search(r"^schema: 1$", preset_text(name), re.MULTILINE)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_has_no_unions_as_the_prefect_form_breaks_on_them(form: type[BaseModel]):
    text = json.dumps(form.model_json_schema())
    assert not [union for union in ("anyOf", "oneOf", "discriminator") if f'"{union}"' in text]


@pytest.mark.parametrize("form", FORMS)
def test_every_field_of_a_form_is_described_and_has_a_default(form: type[BaseModel]):
    fields = fields_of(form)
    assert [name for name, field, _ in fields if not field.get("description")] == []
    assert [name for name, field, _ in fields if "default" not in field] == []


@pytest.mark.parametrize("form", FORMS)
def test_a_form_nests_two_levels_at_most(form: type[BaseModel]):
    assert [name for name, _, depth in fields_of(form) if depth > 1] == []


def test_choices_by_name_are_offered_as_a_closed_list():
    offered = [(name, field.get("enum", ())) for name, field, _ in fields_of(Experiment)]
    for name, choice in (("problem", "classification"), ("source", "timm"), ("source", "transformers"),
                         ("form", "folder"), ("form", "table")):  # fmt: skip
        assert any(choice in choices for found, choices in offered if found == name), choice
