"""What the UI draws and the server checks: schemas made of the settings, held against Prefect's own validation."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import build_error_obj, is_valid_schema, validate

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names, kind_at
from taskdistill.configs.loading import load_experiment, preset_names
from taskdistill.flows.deployed.batch import batch
from taskdistill.flows.deployed.distillation import distillation, distillation_all_settings
from taskdistill.flows.deployed.single_stage import FLOWS
from taskdistill.flows.deployed.study import study
from taskdistill.flows.pipeline.running import experiment_settings_of
from tests.flows.conftest import as_overrides

PIPELINES = (distillation, distillation_all_settings, study, batch)
ALL: dict[str, Any] = {flow.name: flow for flow in (*PIPELINES, *FLOWS.values())}


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = ALL[name].parameters.model_dump()
    return schema


def errors(name: str, **sent: Any) -> list[str]:
    """What the server says of parameters, place by place, as the form shows it."""
    return list(_flat(build_error_obj(validate(sent, schema_of(name)))["errors"]))


def _flat(found: list[Any], place: str = "") -> Iterator[str]:
    for error in found:
        if isinstance(error, str):
            yield f"{place.lstrip('.')}: {error}"
        elif "property" in error:
            yield from _flat(error["errors"], f"{place}.{error['property']}")
        else:
            yield from _flat(error["errors"], f"{place}[{error['index']}]")


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)


@pytest.mark.parametrize("name", ALL)
def test_a_form_is_a_schema_whose_groups_all_name_their_fields(name: str) -> None:
    """The UI's schedules store something else for an object without them."""
    is_valid_schema(schema_of(name))
    assert all(found["properties"] for found in objects(schema_of(name)))


@pytest.mark.parametrize("name", ALL)
def test_a_form_as_it_opens_is_accepted(name: str) -> None:
    schema = schema_of(name)
    assert not schema.get("required")
    opened = {parameter: field["default"] for parameter, field in schema["properties"].items() if "default" in field}
    assert errors(name, **opened) == []
    assert ALL[name].validate_parameters(opened) == opened


@pytest.mark.parametrize("preset", [name for name in preset_names() if name != "clothing10"])
def test_the_long_form_takes_every_preset_written_out(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAL_DATA_DIR", "/data")
    whole = load_experiment(preset)
    assert errors("distillation-all-settings", experiment=experiment_settings_of(whole)) == []
    assert errors("distillation", overrides=as_overrides(whole)) == []


def test_the_long_form_shows_every_setting_but_mappings_and_its_own_version() -> None:
    def shown(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, field in schema["properties"].items():
            assert field["description"], f"{prefix}{name} is not described"
            yield from shown(field, f"{prefix}{name}.") if "properties" in field else [f"{prefix}{name}"]

    form = schema_of("distillation-all-settings")["properties"]["experiment"]
    hidden = {"schema", "teacher.arguments", "student.arguments", "foreign_teacher.label_map"}
    assert set(shown(form)) == set(dotted_names(Kind(Experiment))) - hidden
    assert all(kind_at(name.split("."), Experiment) for name in hidden)


def test_groups_are_named_for_what_they_are_for() -> None:
    form = schema_of("distillation-all-settings")["properties"]["experiment"]["properties"]
    titles = [field["title"] for field in form.values() if "properties" in field]
    assert len(set(titles)) == len(titles)
    assert {"Probe of the teacher (probe)", "Probe of the student (student_probe)"} <= set(titles)
    assert all("(" in title for title in titles)


@pytest.mark.parametrize(
    ("name", "sent", "said"),
    [
        (
            "distillation",
            {"temperature": -1},
            "temperature: 'a number from 0.001 to 10000, or 0 for",
        ),
        ("distillation", {"temperature": 0.0001}, "temperature: 'a number from 0.001 to 10000, or 0 for"),
        ("distillation", {"alpha": 1.5}, "alpha: 'a number from 0 to 1' was expected"),
        ("distillation", {"epochs": -2}, "epochs: 'a whole number from 0 to 1000000' was expected"),
        ("distillation", {"seeds": [0, -1]}, "seeds[1]: 'a whole number from 0 to 9223372036854775807' was expected"),
        ("distillation", {"data_path": "images"}, "data_path: 'an absolute path, such as /data/birds' was expected"),
        ("distillation", {"teacher": "/w.pth"}, "teacher: 'the name of a network that timm knows, such as"),
        (
            "distillation",
            {"overrides": ["seeds=1", "distil.alpha=1"]},
            "overrides[1]: 'a line such as",
        ),
        ("distillation", {"overrides": ["distill.alhpa=1"]}, "overrides[0]: 'a line such as distill.alpha=0.5, which"),
        ("distillation", {"overrides": ["--set seeds=1"]}, "overrides[0]: 'a line such as distill.alpha=0.5, which"),
        ("distillation", {"overrides": ["distill.alpha=7"]}, "overrides[0]: 'alpha=..., a number from 0 to 1' was exp"),
        (
            "distill",
            {"overrides": ["training.epochs=-3"]},
            "overrides[0]: 'epochs=..., a whole number from 1 to 1000000' was",
        ),
        ("distillation", {"overrides": ["runtime.device=gpu"]}, "overrides[0]: 'device=..., one of auto, cpu, cuda,"),
        ("batch", {"runs": [{"overrides": ["seeds=0,-1"]}]}, "runs[0].overrides[0]: 'seeds=..., a list of whole"),
        ("distillation", {"preset": "smal"}, "preset: 'smal' is not one of ['ade20k', 'camvid',"),
        (
            "distill",
            {"inputs": ["logit=x"]},
            "inputs[0]: 'a line role=artifact, such as logits=my-label; this",
        ),
        ("ingest", {"inputs": ["logits=x"]}, "inputs[0]: 'a line role=artifact, such as logits=my-label; but this"),
        (
            "distillation-all-settings",
            {"experiment": {"views": {"num_views": -1}}},
            "experiment.views.num_views: 'a",
        ),
        ("distillation-all-settings", {"experiment": {"distill": {"alpa": 1}}}, "experiment.distill: Additional prop"),
        (
            "distillation-all-settings",
            {"experiment": {"blends": {"strengths": [1]}}},
            "experiment.blends.strengths: 'a",
        ),
        ("study", {"study": "my-study/study.yaml"}, "study: 'the name of a study, such as paper, or the absolute path"),
        ("study", {"preset": "smal"}, "preset: 'smal' is not one of ['as the study says', 'ade20k',"),
        ("study", {"sweep": ["distill.temprature=1,2"]}, "sweep[0]: 'a line such as distill.temperature=1,2,4, which"),
        ("study", {"baseline": ["modell=x"]}, "baseline[0]: 'a line such as distill.temperature=2, or model=student"),
        ("study", {"halving": -1}, "halving: 'a whole number from 0 to 1000' was expected"),
        ("study", {"overrides": ["seeds=0,-1"]}, "overrides[0]: 'seeds=..., a list of whole"),
        ("batch", {"runs": []}, "runs: 'at least one run' was expected"),
        (
            "batch",
            {"runs": [{"preset": "small-cpu"}, {"alpha": 2}]},
            "runs[1].alpha: 'a number from 0 to 1' was",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(name: str, sent: dict[str, Any], said: str) -> None:
    found = errors(name, **sent)
    assert any(error.startswith(said) for error in found), found


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("distillation", {"temperature": 0, "data_path": "~/birds", "teacher": "resnet50.a1_in1k"}),
        ("distillation", {"data_path": "${REAL_DATA_DIR}/clothing", "overrides": ["teacher.arguments.depth=2"]}),
        ("distillation", {"overrides": ["more_teachers=[{name: x}]", "probe={steps: 3}", " seeds = 1"]}),
        ("distillation", {"overrides": ["more_teachers[0].name=x", "foreign_teacher.label_map.cat=dog"]}),
        ("distillation-all-settings", {"experiment": {"teacher": {"arguments": {"depth": 2}}, "schema": 1}}),
        ("study", {"study": "/data/study.yaml", "sweep": ["distill.alpha=0.2,0.4", "student=[{name: a}, {name: b}]"]}),
        ("study", {"study": "", "preset": "small-cpu", "baseline": ["model=student finetuned", "distill.alpha=0.2"]}),
        ("distill", {"inputs": ["logits=my-label", "settings=settings@3f9c12ab"]}),
    ],
)
def test_what_is_right_is_taken(name: str, sent: dict[str, Any]) -> None:
    assert errors(name, **sent) == []
