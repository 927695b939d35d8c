"""What `--set name=value` means: text as it stands, numbers in decimal, lists with or without brackets."""

from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_experiment


@pytest.fixture
def birds(tmp_path: Path) -> str:
    path = tmp_path / "birds.yaml"
    path.write_text("data: {path: /data/birds}\nteacher: {arguments: {depth: 4, num_heads: 3}}\nseeds: [7]\n")
    return str(path)


def value_of(source: str, override: str) -> Any:
    found: Any = load_experiment(source, [override])
    for name in override.partition("=")[0].split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return found


def refusal(source: str, override: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_experiment(source, [override])
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "/data/photos #2", "2024", "010", "yes", "no", "1e3", "null", "true", "1:30", "[x]", "{x: y}", "a: b", "*a",
        "&a", "!x", "'quoted'", '"quoted"', "a=b", " leading and trailing ", "", "- a", "# all", "x,y", "%", "@", "`",
        "été",
    ],
)  # fmt: skip
def test_the_value_of_a_text_is_exactly_what_stands_behind_the_equals_sign(birds: str, text: str):
    assert value_of(birds, f"data.path={text}") == text
    if text:
        assert load_experiment(birds, ["data.form=table", f"data.table={text}"]).data.table == text


def test_a_text_of_a_closed_list_is_text_too(birds: str):
    assert "expected one of auto, cpu, cuda, mps, found '1'" in refusal(birds, "runtime.device=1")
    assert "expected one of none, blends, unlabelled, found 'null'" in refusal(birds, "synthetic_images=null")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("seeds=0,1,2", (0, 1, 2)),
        ("seeds=0, 1, 2", (0, 1, 2)),
        ("seeds=3", (3,)),
        ("seeds=[0,1]", (0, 1)),
        ("seeds=[3]", (3,)),
        ("probe.inputs=last,last4", ("last", "last4")),
        ("probe.inputs=last4+mean", ("last4+mean",)),
        ("probe.learning_rates=1e-3,.5", (0.001, 0.5)),
        ("select.drop=parent-copy,uncertain", ("parent-copy", "uncertain")),
        ("select.drop=uncertain", ("uncertain",)),
        ("select.drop=[]", ()),
        ("teacher.mean=0.5,0.5,0.5", (0.5, 0.5, 0.5)),
        ("blends.strengths=1,2", (1.0, 2.0)),
    ],
)
def test_a_list_may_have_brackets_and_a_list_of_one_may_be_its_entry(
    birds: str, override: str, value: tuple[object, ...]
):
    assert value_of(birds, override) == value


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.epochs=1e3", 1000), ("training.epochs=1_000", 1000), ("training.epochs= 7 ", 7),
        ("training.epochs=2.0", 2), ("training.learning_rate=1e-4", 1e-4), ("training.learning_rate=1E-4", 1e-4),
        ("training.learning_rate=.5", 0.5), ("training.weight_decay=0", 0.0),
    ],
)  # fmt: skip
def test_a_number_is_what_people_write(birds: str, override: str, value: float):
    assert value_of(birds, override) == value


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("training.epochs=010", "010 is read as different numbers"),
        ("training.epochs=0x10", "0x10 is read as different numbers"),
        ("training.epochs=1:30", "1:30 is read as different numbers"),
        ("training.epochs=true", "training.epochs: expected a whole number from 1 to 1000000, found 'true'"),
        ("training.epochs=yes", "found 'yes'"),
        ("training.epochs=2.5", "found 2.5"),
        ("training.epochs=", "found nothing"),
        ("training.epochs=null", "found 'null'"),
        ("training.epochs=20 #fast", "found '20 #fast'"),
        ("training.learning_rate=nan", "training.learning_rate: expected a number above 0, found 'nan'"),
        ("training.learning_rate=.inf", ".inf is no finite number"),
        ("training.learning_rate=1e999", "1e999 is too large for a number"),
        ("training.learning_rate=1,5", "found '1,5'"),
        ("seeds=", "expected a list of whole numbers"),
        ("seeds=0,1,", "seeds, entry 3: expected a whole number from 0 to 9223372036854775807, found nothing"),
        ("seeds=0-4", "seeds, entry 1: "),
        ("seeds=010", "010 is read as different numbers"),
        ("seeds=true", "found 'true'"),
        ("seeds=[1, true]", "seeds, entry 2: expected a whole number from 0 to 9223372036854775807, found true"),
        ("seeds=[0", "expected ',' or ']'"),
        ("select.drop=", "found nothing; write [] for an empty list"),
        ("select.drop=uncertian", "did you mean 'uncertain'?"),
    ],
)
def test_what_is_no_such_number_or_list_is_said(birds: str, override: str, why: str):
    assert why in refusal(birds, override)


def test_a_list_of_sections_is_written_as_yaml_and_one_alone_needs_no_brackets(birds: str):
    for written in (
        "{name: vit, arguments: {depth: 4, num_heads: 3}}",
        "[{name: vit, arguments: {depth: 4, num_heads: 3}}]",
    ):
        (teacher,) = load_experiment(birds, [f"more_teachers={written}"]).more_teachers
        assert (teacher.name, teacher.arguments) == ("vit", {"depth": 4, "num_heads": 3})
    two = load_experiment(birds, ["more_teachers=[{name: vit}, {name: resnet, input_px: 98}]"]).more_teachers
    assert [(teacher.name, teacher.input_px) for teacher in two] == [("vit", 224), ("resnet", 98)]
    assert load_experiment(birds, ["more_teachers=[]"]).more_teachers == ()


@pytest.mark.parametrize("name", ["more_teachers[0].name", "more_teachers.0.name", "more_teachers.name"])
def test_an_entry_of_a_list_of_sections_is_not_set_alone(birds: str, name: str):
    assert "more_teachers is a list, which is set as a whole: write more_teachers='[{name: ...}" in refusal(
        birds, f"{name}=vit"
    )


@pytest.mark.parametrize(
    ("override", "arguments"),
    [
        ("teacher.arguments.depth=6", {"depth": 6, "num_heads": 3}),
        ("teacher.arguments.pad_type=same", {"depth": 4, "num_heads": 3, "pad_type": "same"}),
        ("teacher.arguments.flag=true", {"depth": 4, "num_heads": 3, "flag": True}),
        ("teacher.arguments.note=a #2", {"depth": 4, "num_heads": 3, "note": "a #2"}),
        ("teacher.arguments.sizes=[1, 2]", {"depth": 4, "num_heads": 3, "sizes": [1, 2]}),
        ("teacher.arguments.inner.x=1e-3", {"depth": 4, "num_heads": 3, "inner": {"x": 0.001}}),
        ("teacher.arguments={pad_type: same}", {"pad_type": "same"}),
        ("teacher.arguments={}", {}),
    ],
)
def test_arguments_are_set_one_by_one_or_all_at_once(birds: str, override: str, arguments: dict[str, object]):
    assert load_experiment(birds, [override]).teacher.arguments == arguments


@pytest.mark.parametrize("override", ["teacher.arguments.flag=no", "teacher.arguments={flag: no}"])
def test_an_argument_that_is_true_or_false_to_some_is_refused(birds: str, override: str):
    assert "no is read as true or false by some and as text by others" in refusal(birds, override)


@pytest.mark.parametrize("override", ["=3", "a..b=3", ".alpha=3", "distill.=3", "distill.alpha", ""])
def test_a_name_with_nothing_between_its_dots_is_refused(birds: str, override: str):
    assert f"--set {override!r}: expected name=value".replace("''", "nothing") in refusal(birds, override)


def test_a_setting_that_is_set_anew_need_not_be_readable_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "birds.yaml"
    path.write_text("data: {path: '${NOWHERE}/birds'}\n")
    assert load_experiment(str(path), ["data.path=/data"]).data.path == "/data"
    assert "needs the environment variable NOWHERE" in refusal(str(path), "seeds=1")
