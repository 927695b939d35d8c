"""Where relative paths start, and that what is shown or served means the same in any folder."""

import os
from pathlib import Path

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import dump_preset, load_experiment
from taskdistill.configs.places import portable

PRESET = """
data: {path: photos}
teacher: {weights: file, file: weights/vit.safetensors}
student: {weights: file, file: ../vit-s.safetensors}
generator: {folder: mixer}
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that has nothing to do with where settings lie."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    (tmp_path / "settings").mkdir()
    path = tmp_path / "settings" / "birds.yaml"
    path.write_text(PRESET)
    return path


def places_of(experiment: Experiment) -> list[str]:
    return [experiment.data.path, experiment.teacher.file, experiment.student.file, experiment.generator.folder]


def test_relative_paths_in_a_file_start_at_that_file(preset: Path, elsewhere: Path):
    folder = preset.parent
    expected = ["photos", "weights/vit.safetensors", "../vit-s.safetensors", "mixer"]
    assert places_of(load_experiment(str(preset))) == [f"{folder}/{place}" for place in expected]
    near = places_of(load_experiment(os.path.relpath(preset)))
    assert near == [f"{elsewhere}/../settings/{place}" for place in expected]


def test_a_relative_path_on_the_command_line_starts_at_the_working_folder(preset: Path, elsewhere: Path):
    assert load_experiment(str(preset), ["data.path=photos"]).data.path == "photos"
    assert portable(load_experiment(str(preset), ["data.path=photos"]))["data"]["path"] == f"{elsewhere}/photos"


def test_a_relative_path_in_a_preset_of_the_program_starts_at_the_working_folder(elsewhere: Path):
    assert load_experiment("small-cpu").data.path == "images"


def test_a_path_that_a_variable_leaves_relative_starts_at_the_file_too(
    preset: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
):
    preset.write_text("data: {path: '${BIRDS}/photos'}\n")
    monkeypatch.setenv("BIRDS", "/mnt/birds")
    assert load_experiment(str(preset)).data.path == "/mnt/birds/photos"
    monkeypatch.setenv("BIRDS", "birds")
    assert load_experiment(str(preset)).data.path == f"{preset.parent}/birds/photos"


def test_the_home_folder_is_found_in_a_file_and_on_the_command_line(preset: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    preset.write_text("data: {path: ~/photos}\n")
    assert load_experiment(str(preset)).data.path == "/home/ada/photos"
    assert load_experiment(str(preset), ["data.path=~/birds"]).data.path == "/home/ada/birds"
    assert load_experiment(str(preset), ["data.path=./~/birds"]).data.path == "./~/birds"
    with pytest.raises(SettingsError, match="a user 'nobody-here', who is not known here; for a folder of that name"):
        load_experiment(str(preset), ["data.path=~nobody-here/x"])


def test_the_weights_of_further_teachers_are_places_too(preset: Path, elsewhere: Path):
    preset.write_text("more_teachers: [{name: a}, {weights: file, file: weights/b.safetensors}]\n")
    experiment = load_experiment(str(preset))
    assert experiment.locations() == {"more_teachers[1].file": f"{preset.parent}/weights/b.safetensors"}
    here = load_experiment(str(preset), ["more_teachers={weights: file, file: c.safetensors}"])
    assert [teacher.file for teacher in here.more_teachers] == ["c.safetensors"]
    assert portable(here)["more_teachers"][0]["file"] == f"{elsewhere}/c.safetensors"


def test_texts_that_are_no_paths_are_left_alone(preset: Path):
    preset.write_text("data: {form: table, table: ~/images.csv, path: /data}\nteacher: {name: ~x}\n")
    experiment = load_experiment(str(preset))
    assert (experiment.data.table, experiment.teacher.name) == ("~/images.csv", "~x")


def test_an_empty_path_stays_empty(preset: Path):
    preset.write_text("generator: {folder: ''}\n")
    assert load_experiment(str(preset)).generator.folder == ""


def test_settings_that_are_shown_or_served_mean_the_same_in_any_folder(
    preset: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shown = portable(load_experiment(str(preset), ["data.path=photos"]))
    (tmp_path / "third").mkdir()
    monkeypatch.chdir(tmp_path / "third")
    again = tmp_path / "third" / "again.yaml"
    again.write_text(dump_preset(shown))
    assert load_experiment(str(again)).data.path == f"{elsewhere}/photos"
    assert portable(load_experiment(str(again))) == shown


def test_what_comes_with_the_program_is_named_by_a_variable_in_a_preset_that_is_shown(tmp_path: Path):
    experiment = load_experiment("miniature")
    text = dump_preset(portable(experiment))
    assert "${TASKDISTILL}/tasks/miniature/weights/mixer" in text
    assert experiment.generator.folder not in text
    (again := tmp_path / "again.yaml").write_text(text)
    assert load_experiment(str(again)).generator == experiment.generator
