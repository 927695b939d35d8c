"""The fields of a form become settings, and mistakes are told as the command line tells them."""

from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.deployed.short_form import DistillationForm, LongForm, StageForm, experiment_of, filled_in

IMAGES = {"data_path": "/data/birds"}


def settings(**sent: Any) -> Experiment:
    return experiment_of(filled_in(DistillationForm, sent))


def refusal(**sent: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(**sent)
    return str(caught.value)


def test_the_form_as_it_opens_is_the_demonstration_on_birds_in_the_folder_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKDISTILL_HOME", str(tmp_path))
    demonstration = load_experiment("miniature", [f"data.path={tmp_path / 'birds-0'}"])
    assert settings() == demonstration
    assert experiment_of(LongForm()) == demonstration
    assert experiment_of(StageForm()) == demonstration


def test_empty_fields_leave_the_preset_as_it_is() -> None:
    assert settings(preset="small-cpu", **IMAGES) == load_experiment("small-cpu", ["data.path=/data/birds"])


def test_a_number_typed_is_the_one_used_also_where_the_preset_has_a_search_or_a_least_length() -> None:
    made = settings(preset="small-cpu", epochs=2, alpha=0.5, temperature=3, seeds=[1, 2], **IMAGES)
    assert (made.training.epochs, made.training.min_steps) == (2, 0)
    assert (made.distill.alpha, made.tuning.alphas) == (0.5, (0.5,))
    assert (made.distill.temperature, made.tuning.temperatures) == (3.0, (3.0,))
    assert made.seeds == (1, 2)


def test_another_network_comes_with_its_own_weights_and_nothing_of_the_one_before_but_its_size() -> None:
    before = settings().teacher
    made = settings(teacher="resnet50.a1_in1k").teacher
    assert (before.weights, bool(before.file), bool(before.arguments)) == ("file", True, True)
    assert (made.name, made.weights, made.file, made.arguments) == ("resnet50.a1_in1k", "hub", "", {})
    assert made.input_px == before.input_px
    assert settings(teacher="resnet50.a1_in1k").student == settings().student


def test_blends_are_turned_off_and_on() -> None:
    assert settings().synthetic_images == "blends"
    assert settings(blends="off").synthetic_images == "none"
    folder = ["generator.folder=/mixer"]
    assert settings(preset="small-cpu", blends="on", overrides=folder, **IMAGES).synthetic_images == "blends"
    assert "synthetic_images 'blends' needs generator.folder" in refusal(preset="small-cpu", blends="on", **IMAGES)


def test_lines_count_last_and_set_what_the_form_has_not() -> None:
    made = settings(temperature=3, overrides=["distill.temperature=5", "teacher.arguments.depth=2"])
    assert made.distill.temperature == 5
    assert made.teacher.arguments["depth"] == 2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"temperature": -1}, "temperature: expected a number from 0 to 10000, found -1"),
        ({"seeds": ["x"]}, "seeds, entry 1: expected a whole number from 0 to"),
        ({"nme": 1}, "unknown setting 'nme'"),
        ({"preset": "smal-cpu"}, "there is no preset 'smal-cpu'; did you mean 'small-cpu'?"),
        ({"overrides": ["distil.alpha=1"]}, "unknown setting 'distil'; did you mean 'distill'?"),
        ({"overrides": ["distill.alpha=2"]}, "distill.alpha: expected a number from 0 to 1, found 2"),
        ({"preset": "small-cpu"}, "data_path: the preset 'small-cpu' names no images of yours"),
    ],
)
def test_a_mistake_is_told_in_our_words(sent: dict[str, Any], said: str) -> None:
    assert said in refusal(**sent)


def test_a_teacher_that_would_have_no_part_is_refused() -> None:
    foreign = ["function=file.py:build", "pixels=uint8", "classes=a,b"]
    lines = ["teacher_training=foreign", *(f"foreign_teacher.{line}" for line in foreign), "synthetic_images=none"]
    assert settings(overrides=lines).teacher_training == "foreign"
    assert "teacher: in the preset 'miniature' a network teaches" in refusal(teacher="x", overrides=lines)


# --- the long form ----------------------------------------------------------------------------------------------


def test_a_part_of_an_experiment_is_put_over_the_preset_and_replaces_none_of_it() -> None:
    part = {"seeds": [3], "training": {"epochs": 7}, "teacher": {"arguments": {"depth": 2}}}
    sent = filled_in(LongForm, {"preset": "small-cpu", "experiment": part, "overrides": ["data.path=/data/birds"]})
    changes = ["data.path=/data/birds", "seeds=3", "training.epochs=7", "teacher.arguments={depth: 2}"]
    assert experiment_of(sent) == load_experiment("small-cpu", changes)


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        ({"distill": {"alpha": 2}}, "distill.alpha: expected a number from 0 to 1, found 2"),
        ({"distil": {}}, "unknown setting 'distil'; did you mean 'distill'?"),
        ({"teacher": "vit"}, "teacher: expected a section with the settings source, name"),
        ("small-cpu", "experiment: expected a section of names and values"),
    ],
)
def test_a_mistake_in_a_part_is_told_in_our_words(experiment: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        experiment_of(filled_in(LongForm, {"experiment": experiment}))
    assert said in str(caught.value)


# --- presets of one's own -----------------------------------------------------------------------------------------


def test_presets_of_ones_own_are_offered_first_and_paths_in_them_start_at_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdistill.flows.presets import check_own_presets, preset_choices

    (tmp_path / "moths.yaml").write_text("schema: 1\nname: moths\ndata: {path: images}\n")
    monkeypatch.setenv("TASKDISTILL_PRESETS", str(tmp_path))
    check_own_presets()
    assert preset_choices()[0] == "moths"
    assert settings(preset="moths").data.path == str(tmp_path / "images")


def test_a_preset_of_ones_own_with_a_name_of_ours_and_a_folder_that_is_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdistill.flows.presets import check_own_presets

    (tmp_path / "small-cpu.yaml").write_text("schema: 1\n")
    monkeypatch.setenv("TASKDISTILL_PRESETS", str(tmp_path))
    with pytest.raises(SettingsError, match="'small-cpu' is a preset that comes with the program"):
        check_own_presets()
    monkeypatch.setenv("TASKDISTILL_PRESETS", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="which is no folder"):
        check_own_presets()
