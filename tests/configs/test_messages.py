"""What is said of wrong settings: the setting, what it takes, what was found; in our words, never in pydantic's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names, kind_at
from taskdistill.configs.loading import load_experiment, validated

SEEDS = "from 0 to 9223372036854775807"

ONE_OF_EACH: list[tuple[dict[str, Any], str]] = [
    ({"distill": {"alpha": 1.5}}, "distill.alpha: expected a number from 0 to 1, found 1.5"),
    ({"training": {"warmup": 1}}, "training.warmup: expected a number of at least 0 and below 1, found 1"),
    ({"training": {"learning_rate": 0}}, "training.learning_rate: expected a number above 0, found 0"),
    ({"training": {"epochs": 2.5}}, "training.epochs: expected a whole number from 1 to 1000000, found 2.5"),
    ({"training": {"epochs": "many"}}, "training.epochs: expected a whole number from 1 to 1000000, found 'many'"),
    ({"training": {"epochs": None}}, "training.epochs: expected a whole number from 1 to 1000000, found nothing"),
    ({"training": {"epochs": True}}, "training.epochs: expected a whole number from 1 to 1000000, found true"),
    ({"training": {"epochs": 10**5000}}, "training.epochs: expected a whole number from 1 to 1000000, found a number"),
    ({"training": {"epochs": "010"}}, "expected a whole number from 1 to 1000000, found '010'; leave the quotes out"),
    ({"seeds": [0, "1"]}, f"seeds, entry 2: expected a whole number {SEEDS}, found '1'; leave the quotes out"),
    ({"training": {"epochs": [3]}}, "training.epochs: expected a whole number from 1 to 1000000, found [3]"),
    ({"training": {"weight_decay": "x"}}, "training.weight_decay: expected a number of at least 0, found 'x'"),
    ({"training": {"weight_decay": float("nan")}}, "training.weight_decay: expected a number of at least 0, found nan"),
    ({"blends": {"side_px": 100}}, "expected a whole number from 16 to 2048, a multiple of 8, found 100"),
    ({"data": {"path": 2024}}, "data.path: expected text, found 2024; put it in quotes"),
    ({"data": {"path": None}}, "data.path: expected text, found nothing"),
    ({"data": {"path": {"a": 1}}}, "data.path: expected text, found {a: 1}"),
    ({"data": {"path": "a\0b"}}, "data.path: a path cannot hold the character U+0000"),
    ({"name": "Big Birds"}, "name: expected at most 64 small letters, digits, '.', '_' and '-', such as birds-2"),
    ({"runtime": {"device": "cdua"}}, "expected one of auto, cpu, cuda, mps, found 'cdua'; did you mean 'cuda'?"),
    ({"runtime": {"device": 3}}, "runtime.device: expected one of auto, cpu, cuda, mps, found 3"),
    ({"schema": 2}, "schema: expected 1, found 2"),
    ({"schema": True}, "schema: expected 1, found true"),
    ({"problem": "clasification"}, "problem: unknown name 'clasification'; did you mean 'classification'?"),
    ({"problem": 3}, "problem: expected text, found 3"),
    ({"seeds": []}, f"seeds: expected a list of whole numbers {SEEDS}, at least 1 of them, found []"),
    ({"seeds": 3}, "at least 1 of them, found 3; write [3] for a list of one"),
    ({"seeds": [0, -1]}, f"seeds, entry 2: expected a whole number {SEEDS}, found -1"),
    ({"seeds": [2**63]}, f"seeds, entry 1: expected a whole number {SEEDS}, found {2**63}"),
    ({"seeds": {"a": 1}}, "found {a: 1}"),
    ({"probe": {"inputs": ["lst"]}}, "probe.inputs, entry 1: expected one of last, last4, last+mean, last4+mean"),
    ({"probe": {"inputs": "last"}}, "a list with any of last, last4, last+mean, last4+mean, at least 1 of them"),
    ({"probe": {"learning_rates": [0.1, -1]}}, "probe.learning_rates, entry 2: expected a number above 0, found -1"),
    ({"blends": {"strengths": [1]}}, "expected a list of 2 entries of numbers from 0 to 10, found [1]"),
    ({"blends": {"strengths": [1, 2, 3]}}, "blends.strengths: expected a list of 2 entries"),
    ({"blends": {"strengths": [1, 11]}}, "blends.strengths, entry 2: expected a number from 0 to 10, found 11"),
    ({"teacher": {"arguments": 3}}, "teacher.arguments: expected a section of names and values, such as {depth: 4}"),
    ({"teacher": {"arguments": {"a": {1}}}}, "teacher.arguments.a: expected a plain value"),
    ({"teacher": {"arguments": {"a": float("inf")}}}, "teacher.arguments.a"),
    ({"teacher": "resnet50"}, "found 'resnet50'; set one of them, such as teacher.name"),
    ({"training": 3}, "training: expected a section with the settings epochs, batch_size"),
    ({"training": [3]}, "training: expected a section with the settings epochs, batch_size"),
    ({"training": None}, "training: expected a section with the settings epochs, batch_size"),
    ({"distill": {"temprature": 3}}, "unknown setting 'distill.temprature'; did you mean 'distill.temperature'?"),
    ({"temperature": 3}, "unknown setting 'temperature'; there is distill.temperature"),
    ({"temprature": 3}, "unknown setting 'temprature'; did you mean 'distill.temperature'?"),
    ({"techer": {"name": "x"}}, "unknown setting 'techer'; did you mean 'teacher'?"),
    ({"epochs": 3}, "unknown setting 'epochs'; there is training.epochs and teacher_finetuning.epochs"),
    ({"more_teachers": "vit"}, "more_teachers: expected a list of sections, each with any of the settings source, "),
    ({"more_teachers": {"name": "vit"}}, "found {name: 'vit'}; write [{name: ...}] for a list of one"),
    ({"more_teachers": [{}, "vit"]}, "more_teachers[1]: expected a section with the settings source, name"),
    ({"more_teachers": ["vit"]}, "found 'vit'; write {name: vit}"),
    ({"more_teachers": [{"input_px": 3}]}, "more_teachers[0].input_px: expected a whole number from 16 to 4096, found"),
    ({"more_teachers": [{"nme": "x"}]}, "setting 'more_teachers[0].nme'; did you mean 'more_teachers[0].name'?"),
    ({"more_teachers": [{"file": "x"}]}, "more_teachers[0]: weights 'file' needs the path in 'file'"),
    ({"data": {"form": "table"}}, "data: form 'table' needs data.table"),
    ({"views": {"num_views": 0}}, "views.num_views must be at least 1 to distil"),
]  # fmt: skip

PYDANTICS = re.compile(r"Input should|validation error|pydantic|Value error|String should|type=|Tuple should")


def refusal(values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        validated(values, "birds.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("values", "said"), ONE_OF_EACH)
def test_a_mistake_is_said_with_the_setting_what_it_takes_and_what_was_found(values: dict[str, Any], said: str):
    message = refusal(values)
    assert message.startswith("birds.yaml cannot be used:\n  ")
    assert said in message
    assert message.count("\n") == 1


def test_a_setting_that_stands_in_another_section_is_named_and_no_other_is_guessed_beside_it() -> None:
    assert refusal({"temperature": 1}).endswith("unknown setting 'temperature'; there is distill.temperature")


WRONG = [None, True, -1, 10**400, 1.5, float("nan"), "", "x", [], [None], [-1.5], ["x"] * 5, {}, {"x": 1}, {"x": {2}}]


def wrong_values() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield values of every wrong kind, for every setting and section there is."""
    names = list(dotted_names(Kind(Experiment)))
    sections = {name.rpartition(".")[0] for name in names} - {""}
    for dotted in [*names, *sorted(sections)]:
        for value in (
            None,
            True,
            -1,
            10**400,
            1.5,
            float("nan"),
            "",
            "x",
            [],
            [None],
            [-1.5],
            ["x"] * 5,
            {},
            {"x": 1},
            {"x": {2}},
        ):
            values: Any = value
            for name in reversed(dotted.split(".")):
                values = {name: values}
            yield dotted, values


def test_no_wrong_value_of_any_setting_is_answered_in_pydantics_words():
    leaked, unnamed = {}, {}
    for dotted, values in wrong_values():
        try:
            validated(values, "birds.yaml")
        except SettingsError as error:
            if PYDANTICS.search(str(error)):
                leaked[dotted] = str(error)
            if not any(part in str(error) for part in (dotted, dotted.rpartition(".")[2])):
                unnamed[dotted] = str(error)
    assert (leaked, unnamed) == ({}, {})


def test_every_rule_in_use_is_broken_by_one_of_the_cases():
    """A new kind of constraint needs its sentence: the errors of the walk are of kinds that were looked at."""
    kinds = set()
    for values in [*(values for values, _ in ONE_OF_EACH), *(values for _, values in wrong_values())]:
        try:
            Experiment.model_validate(values)
        except ValidationError as error:
            kinds |= {problem["type"] for problem in error.errors()}
    assert kinds <= {
        "extra_forbidden", "value_error", "model_type", "no_number", "int_type", "int_parsing", "int_from_float",
        "int_parsing_size", "float_type", "float_parsing", "finite_number", "string_type", "literal_error",
        "tuple_type", "dict_type", "greater_than", "greater_than_equal", "less_than", "less_than_equal",
        "multiple_of", "too_short", "too_long", "missing", "invalid-json-value",
    }  # fmt: skip


@pytest.mark.parametrize("values", [None, 3, "x", [], [1]])
def test_an_experiment_that_is_no_section_is_said_too(values: Any):
    assert "the settings: expected a section with the settings schema, name, problem" in refusal(values)


def test_every_mistake_is_listed():
    with pytest.raises(SettingsError) as caught:
        validated({"distill": {"alpha": 2}, "nme": 1, "data": {"form": "table"}}, "the preset")
    *lines, last = str(caught.value).splitlines()
    assert lines == [
        "the preset cannot be used:",
        "  data: form 'table' needs data.table (a file inside data.path), and other forms must not have it",
        "  distill.alpha: expected a number from 0 to 1, found 2",
    ]
    assert last.startswith("  unknown setting 'nme'; did you mean 'name'? (known: blends, data, distill, ")


def test_a_long_value_is_cut(tmp_path: Path):
    assert f"'{'x' * 79}..." in refusal({"runtime": {"device": "x" * 100_000}})
    assert len(refusal({"seeds": ["x"] * 1000 + [1]})) < 200_000
    assert kind_at(["nothing"], Experiment) is None


# --- files ---------------------------------------------------------------------------------------------------------


def file_refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_experiment(str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "should hold settings such as 'data: {path: ...}', found nothing"),
        (b"# only a comment\n", "found nothing"),
        (b"- a\n- b\n", "found ['a', 'b']"),
        (b"just words", "found 'just words'"),
        (b"data: {path: caf\xe9}\n", "line 1: this is no text in UTF-8: save the file as UTF-8"),
        (b"\xff\xfed\x00a\x00t\x00a\x00", "line 1: this is no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "this is no text in UTF-8"),
        (b"name: a\x00b\n", "line 1: no text has the character U+0000"),
        (b"name: birds\nseeds: [1\n", "line 3: while parsing a flow sequence, expected ',' or ']'"),
        (b"name: birds\nseeds: &s [1]\n", "line 2: anchors (&) and aliases (*) are not read"),
        (b"# " + b"x" * 2**20, "is larger than 1048576 bytes: it is no file of settings"),
        (b"teacher: resnet50\n", "teacher: expected a section with the settings source, name"),
        (b"training:\n  epochs: 3\n  epochs: 4\n", "line 3: 'epochs' is there twice, first in line 2: keep one"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_in_a_sentence(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    message = file_refusal(path)
    assert str(path) in message
    assert said in message


def test_a_folder_and_a_name_that_is_too_long_are_no_presets(tmp_path: Path):
    assert "is a folder: name a preset, or a YAML file of settings (known: ade20k" in file_refusal(tmp_path)
    assert "is neither a preset nor a file (known: ade20k" in file_refusal(Path("x" * 5000))


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(tmp_path: Path):
    path = tmp_path / "birds.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: birds\n")
    assert load_experiment(str(path)).name == "birds"
