"""A study as it is written, in a file or on the command line: its points, and what is refused."""

import re
from pathlib import Path

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.study import Study
from taskdistill.configs.study_loading import Given, command_of, load_study, points_of, study_names

POINTS_2_AND_3 = "2 (temperature 1, alpha 2", "3 (temperature 0, alpha 0.5"
FIFTY = ",".join(map(str, range(1, 51)))


@pytest.fixture
def preset(tmp_path: Path) -> str:
    """A preset of one's own."""
    path = tmp_path / "mine.yaml"
    path.write_text("schema: 1\nname: mine\ndata: {path: images}\ndistill: {temperature: 3}\nseeds: [7]\n")
    return str(path)


def written(folder: Path, text: str) -> str:
    path = folder / "study.yaml"
    path.write_text(f"study: 1\npreset: mine.yaml\n{text}")
    return str(path)


def values_of(study: Study) -> list[tuple[float, float]]:
    return [(point.experiment.distill.temperature, point.experiment.distill.alpha) for point in points_of(study)]


def test_the_points_of_a_sweep_are_all_combinations_the_last_factor_first(preset: str) -> None:
    study = load_study(preset, Given(sweeps=["distill.temperature=1,2", "distill.alpha=0.25,0.5,1"]))
    assert values_of(study) == [(1, 0.25), (1, 0.5), (1, 1), (2, 0.25), (2, 0.5), (2, 1)]
    assert [str(point.variant) for point in points_of(study)][1] == "temperature 1, alpha 0.5"


def test_a_file_of_a_study_says_the_same_and_its_paths_start_at_its_folder(preset: str, tmp_path: Path) -> None:
    source = written(
        tmp_path, "set: {distill.alpha: 0.5}\nsweep: {data.path: [red, blue], distill.temperature: [1, 2]}"
    )
    points = points_of(load_study(source))
    assert [(point.experiment.data.path, point.experiment.distill.temperature) for point in points] == [
        (str(tmp_path / colour), temperature) for colour in ("red", "blue") for temperature in (1, 2)
    ]
    assert {point.experiment.distill.alpha for point in points} == {0.5}
    assert dict(points[0].variant.levels) == {"data.path": "red", "distill.temperature": "1"}


def test_a_list_of_points_keeps_the_preset_where_a_point_does_not_say(preset: str, tmp_path: Path) -> None:
    source = written(tmp_path, "points: [{distill.temperature: 1}, {distill.temperature: 2, distill.alpha: 0.5}, {}]")
    points = points_of(load_study(source))
    assert [point.experiment.distill.temperature for point in points] == [1, 2, 3]
    assert [str(point.variant) for point in points] == ["temperature 1", "temperature 2, alpha 0.5", ""]


def test_a_value_may_be_a_section_whose_other_settings_stay(preset: str) -> None:
    sweep = "student=[{name: resnet18, input_px: 96}, {name: resnet34}]"
    points = points_of(load_study(preset, Given(sweeps=[sweep], overrides=["student.weights=random"])))
    assert [(point.experiment.student.name, point.experiment.student.input_px) for point in points] == [
        ("resnet18", 96),
        ("resnet34", 224),
    ]
    assert {point.experiment.student.weights for point in points} == {"random"}
    assert [point.variant.levels["student"] for point in points] == ["resnet18", "resnet34"]


def test_levels_may_have_names_of_their_own(preset: str, tmp_path: Path) -> None:
    source = written(
        tmp_path, "sweep: {data.labels_per_class: {one: 1, all: 0}}\nbaseline: {data.labels_per_class: all}"
    )
    points = points_of(load_study(source))
    assert [(str(point.variant), point.experiment.data.labels_per_class) for point in points] == [
        ("labels_per_class one", 1),
        ("labels_per_class all", 0),
    ]


def test_seeds_are_no_factor_each_point_has_all_of_them(preset: str) -> None:
    points = points_of(load_study(preset, Given(sweeps=["distill.alpha=0.5,1", "seeds=0,1,2"])))
    assert [point.experiment.seeds for point in points] == [(0, 1, 2), (0, 1, 2)]


def test_what_the_command_line_names_takes_the_place_of_what_the_study_says_of_it(preset: str, tmp_path: Path) -> None:
    source = written(tmp_path, "set: {distill.alpha: 0.5}\nsweep: {student: [{name: a}, {name: b}], seeds: [0, 1]}")
    given = Given(sweeps=["distill.alpha=0.25,1"], overrides=["student.name=resnet18"])
    points = points_of(load_study(source, given))
    assert [(point.experiment.distill.alpha, point.experiment.student.name) for point in points] == [
        (0.25, "resnet18"),
        (1.0, "resnet18"),
    ]
    assert points[0].experiment.seeds == (0, 1)


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        (["distill.temprature=1,2"], "no setting 'distill.temprature'; did you mean 'distill.temperature'"),
        (["distill.temperature="], "distill.temperature has no values"),
        (["distill.temperature=1,2,1"], "distill.temperature has the value 1 twice"),
        (["distill.temperature=1"], "there is one point only"),
        (["runtime.slots=1,2"], "runtime.slots says how work is done, not what is made"),
        ([], "nothing varies: name a setting and its values, on the command line with --sweep SETTING=A,B"),
        (["alpha=0.5,1"], "there is no setting 'alpha'; there is distill.alpha"),
        (["student=[{name: a}, {name: b}]", "student.name=c,d"], "student.name is said twice, in sweep and in sweep"),
        (["training.epochs=1,2", "distill.temperature"], "--sweep 'distill.temperature': expected name=value"),
        ([f"training.epochs={FIFTY}", "seeds=0,1", f"views.seed={FIFTY}"],
         "50 x 50 = 2500 points are more than 1000"),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_be_one_is_refused_by_its_setting(preset: str, sweeps: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_study(preset, Given(sweeps=sweeps))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("set: [a]\nbaseline: 5\nsweep: {distill.alpha: [0.5, 1]}",
         ["set: expected a section", "baseline: expected a section"]),
        ("sweep: [1, 2]", ["sweep: expected a section of names and values"]),
        ("set: [seeds]\nsweep: {seeds: [1, 2]}", ["set: expected a section"]),
        ("sweep: {seeds: 5}", ["sweep: seeds is 5: give a list of its values"]),
        ("sweep: {seeds: true}", ["sweep: seeds is true: give a list of its values"]),
        ("sweep: {seeds: {a: 1}}", ["sweep: seeds is {a: 1}: give a list of its values"]),
        ("sweep: {distill.alpha: [0.5, 1]}\nbaseline: {model: [a]}",
         ["baseline: expected the name of a model, found ['a']"]),
    ],
)  # fmt: skip
def test_a_file_of_another_shape_is_refused_with_every_mistake(
    preset: str, tmp_path: Path, text: str, messages: list[str]
) -> None:
    with pytest.raises(SettingsError) as error:
        load_study(written(tmp_path, text))
    assert all(message in str(error.value) for message in messages)


def test_so_is_one_to_which_the_command_line_adds(preset: str, tmp_path: Path) -> None:
    given = Given("", ["seeds=1"], ["training.epochs=1,2"], ["training.epochs=1"])
    with pytest.raises(SettingsError) as error:
        load_study(written(tmp_path, "set: [a]\nsweep: 5\nbaseline: [x]"), given)
    found = [line.partition(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    assert found == ["set", "sweep", "baseline"]


@pytest.mark.parametrize("fixed", ["distill.temperature=2", "distill={temperature: 2}"])
def test_a_setting_that_is_fixed_and_swept_is_refused(preset: str, fixed: str) -> None:
    with pytest.raises(SettingsError, match=r"distill\.temperature is said twice, in set and in sweep"):
        load_study(preset, Given(sweeps=["distill.temperature=1,2"], overrides=[fixed]))


def test_points_that_cannot_be_used_are_named_with_why(preset: str) -> None:
    study = load_study(preset, Given(sweeps=["distill.temperature=1,0", "distill.alpha=0.5,2"]))
    with pytest.raises(SettingsError) as error:
        points_of(study)
    second, third = (f"point {words}) cannot be used:" for words in POINTS_2_AND_3)
    assert f"{second}\n  distill.alpha: expected a number from 0 to 1, found 2" in str(error.value)
    assert third in str(error.value)


@pytest.mark.parametrize(
    ("sweep", "levels"),
    [
        ("distill.temperature=2,2.0", "2 and as 2.0"),
        ("distill.temperature=1,2,4,0.2e1", "2 and as 2.0"),
        ("training.learning_rate=1,1.0", "1 and as 1.0"),
    ],
)
def test_a_value_in_two_spellings_is_refused_as_there_twice(preset: str, sweep: str, levels: str) -> None:
    name = sweep.partition("=")[0]
    study = load_study(preset, Given(sweeps=["distill.alpha=0.5,1", sweep]))
    with pytest.raises(SettingsError, match=rf"^{name} has the same value twice, as {re.escape(levels)}: leave one"):
        points_of(study)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("training.learning_rate=1e-3,0.001", "training.learning_rate has the value 0.001 twice"),
        ("blends.strengths=[[1,2],[1.0,2.0]]", "blends.strengths has the value [1.0, 2.0] twice"),
    ],
)
def test_spellings_that_are_read_as_the_same_are_refused_with_what_is_read(
    preset: str, sweep: str, message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load_study(preset, Given(sweeps=[sweep]))
    assert message in str(error.value)


def test_a_sweep_beside_points_is_refused_with_the_name_of_its_option(preset: str, tmp_path: Path) -> None:
    source = written(tmp_path, "points: [{distill.alpha: 0.5}, {distill.alpha: 1}]")
    with pytest.raises(SettingsError, match=r"--sweep SETTING=A,B\) or points \(a list of settings\): leave one"):
        load_study(source, Given(sweeps=["distill.temperature=1,2"]))


def test_a_baseline_names_a_factor_and_one_of_its_levels(preset: str) -> None:
    sweep = ["distill.temperature=1,2"]
    with pytest.raises(SettingsError, match=r"baseline: distill\.temperature is 3, which is none of its levels: 1, 2"):
        load_study(preset, Given(sweeps=sweep, baseline=["distill.temperature=3"]))
    with pytest.raises(SettingsError, match=r"baseline: 'distill\.alpha' is no factor of this study"):
        load_study(preset, Given(sweeps=sweep, baseline=["distill.alpha=0.5"]))


@pytest.mark.parametrize(
    ("halving", "levels", "message"),
    [
        (1, "1,2,4", "halving: of 1 in 1 all points go on"),
        (2, "1,2", "halving: of 2 points one alone would go on, beside none"),
        (-1, "1,2,4", "halving: expected a whole number from 0 to 1000, found -1"),
    ],
)
def test_a_halving_that_stops_nothing_or_leaves_nothing_to_compare_is_refused(
    preset: str, halving: int, levels: str, message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load_study(preset, Given(sweeps=[f"distill.temperature={levels}"], halving=halving))
    assert message in str(error.value)


def test_halving_is_said_by_the_file_unless_the_command_line_says_another(preset: str, tmp_path: Path) -> None:
    source = written(tmp_path, "halving: 3\nsweep: {distill.temperature: [1, 2, 4]}")
    assert load_study(source).halving == 3
    assert load_study(source, Given(halving=0)).halving == 0


def test_the_command_of_a_study_is_read_as_the_same_study(preset: str) -> None:
    given = Given("", ["seeds=0,1"], ["distill.temperature=1,2,4"], ["model=student finetuned"], 2)
    assert command_of("mine.yaml", given) == (
        "taskdistill study mine.yaml --set seeds=0,1 --sweep distill.temperature=1,2,4 --baseline "
        "'model=student finetuned' --halving 2"
    )


def test_the_command_of_a_study_shows_no_password(preset: str) -> None:
    given = Given("", ["runtime.mlflow_uri=https://me:p$'w@host/x", "seeds=0,1"], ["distill.alpha=0.5,1"])
    assert command_of("mine.yaml", given) == (
        "taskdistill study mine.yaml --set runtime.mlflow_uri=https://host/x --set seeds=0,1 --sweep "
        "distill.alpha=0.5,1"
    )


def test_what_is_no_study_and_no_preset_is_said_with_what_there_is() -> None:
    with pytest.raises(SettingsError, match="'papper' is neither a preset nor a file; did you mean 'paper'"):
        load_study("papper")


@pytest.mark.parametrize("name", study_names())
def test_a_shipped_study_can_be_used_and_is_called_by_its_file_name(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert len(points_of(study)) >= 5


def test_a_shipped_study_takes_another_preset(preset: str) -> None:
    points = points_of(load_study("few-labels", Given(preset=preset, overrides=["seeds=0"])))
    assert [point.experiment.data.labels_per_class for point in points] == [1, 2, 4, 8, 0]
    assert points[0].experiment.name == "mine"
