"""Values behind the = of a line: what the form refuses is what a run would, and it refuses no more than that."""

import json
import re
from collections.abc import Iterator

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names, kind_at
from taskdistill.configs.overrides import changes_of
from taskdistill.flows.deployed.form_schema import line_of_a_setting
from taskdistill.flows.deployed.line_values import line_pattern, value_pattern

NAMES = [name for name in dotted_names(Kind(Experiment)) if value_pattern(kind_at(name.split("."), Experiment))]
TEXTS = [
    "", "x", "true", "null", "0", "-0", "0.0", "-0.0", "00", "1", "+1", "-1", "-3", "2", "7", "15", "16", "19", "20",
    "21", "24", "50", "51", "64", "99", "100", "101", "255", "256", "257", "1000", "1_000", "1_0000000", "1001", "1024",
    "1025", "4096", "4097", "65535", "65536", "1000000", "1000001", "9223372036854775807", "9223372036854775808",
    "99999999999999999999", "1.0", "1.", "2.0", "0.5", ".5", "-.5", "0.04", "0.05", "1.5", "0.001", "0.0001", "10000",
    "10000.0", "10000.1", "1e3", "1e-3", "-1e-3", "0e0", "1e400", "0x10", "1:30", "010", "nan", ".inf", " 16 ", "1 6",
    "16,32", "0.1, 2", "-1,2", "[1, 2]", "[]", ",", "1,,2", "1,x", "cuda", "CUDA", " cuda", "auto", "none", "blends",
    "linear", "last", "last,last4", "uncertain,parent-copy", "bf16", "fp32", "cosine",
]  # fmt: skip


def is_taken(name: str, text: str) -> bool:
    """Whether the settings take a value for one of them, whatever the others are."""
    values: dict[str, object] = {"name": "a"}
    try:
        (change,) = changes_of(f"{name}={text}", Experiment)
        change.put_in(values)
        Experiment.model_validate(values)
    except SettingsError:
        return False
    except ValueError as error:
        # pydantic's, by setting; what two settings say together belongs to a section.
        places = [".".join(str(part) for part in each["loc"]) for each in error.errors()]  # type: ignore[attr-defined]
        return not any(place == name or place.startswith(f"{name}.") for place in places)
    return True


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_would_take_is_never_refused_in_the_form(name: str) -> None:
    refused = re.compile(line_pattern([name], value_pattern(kind_at(name.split("."), Experiment))))
    wrongly = [text for text in TEXTS if is_taken(name, text) and refused.search(f"{name}={text}")]
    assert wrongly == []


def seen(name: str) -> Iterator[str]:
    """Texts that only a run refuses."""
    refused = re.compile(line_pattern([name], value_pattern(kind_at(name.split("."), Experiment))))
    yield from (text for text in TEXTS if not is_taken(name, text) and not refused.search(f"{name}={text}"))


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("runtime.device", []),
        ("training.epochs", ["0e0", "1e-3", "1e400", "1_0000000"]),
        ("runtime.threads", ["0e0", "1e-3", "1e3", "1e400", "1_000", "1_0000000"]),
        ("distill.alpha", ["1e3", "1e400", "1_000", "1_0000000"]),
        ("training.drop_path", ["1e3", "1e400", "1_000", "1_0000000"]),
        ("training.learning_rate", ["1e400"]),
        ("select.drop", ["[1, 2]"]),
    ],
)
def test_nearly_all_that_a_run_would_refuse_is_refused_in_the_form(name: str, left: list[str]) -> None:
    assert sorted(seen(name)) == sorted(left)


def test_what_an_environment_variable_holds_is_left_to_the_run() -> None:
    kind = kind_at(["runtime", "threads"], Experiment)
    assert not re.search(line_pattern(["runtime.threads"], value_pattern(kind)), "runtime.threads=${CORES}")


def test_the_rules_of_all_settings_are_no_more_than_a_page_can_load() -> None:
    assert len(json.dumps(line_of_a_setting())) < 50_000
