"""From a preset or file with overrides to settings, and the errors on the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import dump_preset, load_experiment

SMALL = """
schema: 1
name: birds
data: {path: /data/birds}
student: {name: test_vit, weights: random}
training: {epochs: 3}
"""


@pytest.fixture
def birds(tmp_path: Path) -> str:
    path = tmp_path / "birds.yaml"
    path.write_text(SMALL)
    return str(path)


def refusal(source: str, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_experiment(source, overrides)
    return str(caught.value)


def test_a_file_gives_its_values_and_defaults_for_the_rest(birds: str):
    experiment = load_experiment(birds)
    assert (experiment.name, experiment.data.path, experiment.training.epochs) == ("birds", "/data/birds", 3)
    assert experiment.distill.temperature == 2.0


@pytest.mark.parametrize(
    ("override", "section", "field", "expected"),
    [
        ("distill.alpha=0.5", "distill", "alpha", 0.5),
        ("training.learning_rate=1e-4", "training", "learning_rate", 0.0001),
        ("probe.learning_rates=[0.1, 1e-2]", "probe", "learning_rates", (0.1, 0.01)),
        ("student.arguments={pad_type: same}", "student", "arguments", {"pad_type": "same"}),
        ("student.arguments.pad_type=same", "student", "arguments", {"pad_type": "same"}),
        ("data.path=/data/a=b", "data", "path", "/data/a=b"),
        ("training.epochs=7", "training", "epochs", 7),
    ],
)
def test_an_override_sets_one_dotted_name(birds: str, override: str, section: str, field: str, expected: object):
    assert getattr(getattr(load_experiment(birds, [override]), section), field) == expected


def test_a_section_whose_lines_are_all_commented_out_sets_nothing(tmp_path: Path):
    path = tmp_path / "birds.yaml"
    path.write_text("name: birds\ntraining:\n  # epochs: 3\nteacher:\n")
    assert load_experiment(str(path)) == Experiment(name="birds")
    assert load_experiment(str(path), ["training.epochs=5"]).training.epochs == 5


def test_an_override_leaves_everything_else_as_the_file_says(birds: str):
    expected = load_experiment(birds).model_dump()
    expected["distill"]["alpha"] = 0.5
    assert load_experiment(birds, ["distill.alpha=0.5"]).model_dump() == expected


def test_the_last_of_two_overrides_of_one_setting_counts(birds: str):
    assert load_experiment(birds, ["seeds=[1]", "seeds=[2, 3]"]).seeds == (2, 3)


def test_an_override_without_a_value_says_what_one_looks_like(birds: str):
    assert "--set 'distill.alpha': expected name=value, such as distill.alpha=0.5" in refusal(birds, "distill.alpha")


def test_an_override_below_a_value_says_that_it_is_no_section(birds: str):
    assert "'epochs' holds a value, not a section" in refusal(birds, "training.epochs.first=1")


def test_an_unknown_setting_is_named_in_full_with_the_nearest_known_one(birds: str):
    message = refusal(birds, "distill.temprature=3")
    assert "unknown setting 'distill.temprature'; did you mean 'distill.temperature'?" in message
    assert "known: alpha, mix_beta, mix_views, synthetic_ratio, temperature" in message


def test_an_unknown_section_is_named_with_the_nearest_known_one(birds: str):
    assert "unknown setting 'techer'; did you mean 'teacher'?" in refusal(birds, "techer.name=test_vit")


def test_an_unknown_source_of_models_is_named_with_the_known_ones(birds: str):
    message = refusal(birds, "teacher.source=tim")
    assert "teacher.source: unknown name 'tim'; did you mean 'timm'? (known: timm" in message


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("problem=clasification", "problem: unknown name 'clasification'; did you mean 'classification'?"),
        ("data.form=foldr", "data.form: unknown name 'foldr'; did you mean 'folder'?"),
    ],
)
def test_every_choice_by_name_suggests_the_nearest(birds: str, override: str, hint: str):
    assert hint in refusal(birds, override)


def test_an_unknown_preset_is_named_with_the_nearest_known_one():
    assert "'clothng10' is neither a preset nor a file; did you mean 'clothing10'? (known: " in refusal("clothng10")


def test_a_value_out_of_bounds_is_named_with_what_was_found(birds: str):
    message = refusal(birds, "distill.alpha=1.5")
    assert "distill.alpha: expected a number from 0 to 1, found 1.5" in message


def test_every_mistake_is_listed_at_once(birds: str):
    message = refusal(birds, "distill.alpha=1.5", "seeds=[]", "nme=x")
    assert all(name in message for name in ("distill.alpha", "seeds", "'nme'; did you mean 'name'?"))


@pytest.mark.parametrize("text", ["training: [1", "- a list", "just words", ""])
def test_a_file_that_holds_no_settings_is_refused_by_name(tmp_path: Path, text: str):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    assert str(path) in refusal(str(path))


def test_a_file_of_a_later_schema_is_refused(birds: str):
    assert "schema: expected 1, found 2" in refusal(birds, "schema=2")


def test_variables_are_replaced_wherever_text_stands(birds: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BIRDS_DIR", "/mnt/birds")
    monkeypatch.setenv("PADDING", "same")
    overrides = ["data.path=${BIRDS_DIR}/images", "student.arguments={notes: ['pad ${PADDING}']}"]
    experiment = load_experiment(birds, overrides)
    assert experiment.data.path == "/mnt/birds/images"
    assert experiment.student.arguments == {"notes": ["pad same"]}


def test_a_variable_that_is_not_set_is_named_with_the_value_that_needs_it(birds: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BIRDS_DIR", raising=False)
    message = refusal(birds, "data.path=${BIRDS_DIR}/images")
    assert "'${BIRDS_DIR}/images' needs the environment variable BIRDS_DIR, which is not set" in message


@pytest.mark.parametrize("setting", ["mixup", "cutmix"])
def test_mixing_pixels_together_with_distillation_is_refused_with_the_reason(birds: str, setting: str):
    message = refusal(birds, f"training.{setting}=0.2")
    assert "must be 0 when distilling from cached logits" in message
    assert "its logits are not linear in the pixels" in message
    assert "distill.mix_views (mixup or cutmix) mixes two views whose logits are both known" in message


def test_distilling_without_augmented_views_is_refused(birds: str):
    assert "views.num_views must be at least 1" in refusal(birds, "views.num_views=0")


def test_a_repeated_seed_is_refused(birds: str):
    assert "seeds has a repeated value: [1, 1]" in refusal(birds, "seeds=[1, 1]")


def test_a_dumped_preset_loads_as_the_same_experiment(birds: str, tmp_path: Path):
    experiment = load_experiment(birds, ["distill.alpha=0.5"])
    path = tmp_path / "again.yaml"
    path.write_text(dump_preset(experiment.model_dump(mode="json", by_alias=True)))
    assert load_experiment(str(path)) == experiment
    assert yaml.safe_load(path.read_text())["schema"] == 1


def test_loading_settings_imports_nothing_heavy():
    program = (
        "import sys; from taskdistill.configs.loading import load_experiment, preset_names; "
        "load_experiment(preset_names()[0]); "
        "print([name for name in ('torch', 'prefect', 'zarr', 'numpy', 'pyarrow') if name in sys.modules])"
    )
    environment = os.environ | {"REAL_DATA_DIR": "/data"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_an_empty_experiment_is_valid():
    assert Experiment().seeds == (0,)
