"""Where each pixel has a class, settings for one class an image are refused, and all that is to be set is named."""

from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_experiment, validated
from taskdistill.configs.whole_images import PRESET

FITTING: dict[str, Any] = {
    "problem": "segmentation",
    "data": {"form": "masks"},
    "teacher_cache": "logits",
    "teacher": {"clean_view": "whole"},
    "student": {"clean_view": "squash"},
    "probe": {"optimizer": "adamw"},
    "student_probe": {"learning_rates": [0.1]},
}


def refusal(**settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        validated(FITTING | settings, "streets.yaml")
    return str(caught.value)


def test_settings_that_fit_are_taken() -> None:
    assert validated(FITTING, "streets.yaml").problem == "segmentation"


def test_whoever_sets_the_problem_alone_is_told_all_that_is_to_be_set_beside_it() -> None:
    with pytest.raises(SettingsError) as caught:
        load_experiment("small-cpu", ["data.path=images", "problem=segmentation"])
    said = str(caught.value).splitlines()
    assert PRESET in said[1]
    assert [line.strip().partition(" ")[0] for line in said[2:]] == [
        "data.form", "teacher_cache", "teacher.clean_view", "student.clean_view", "probe.optimizer",
        "student_probe.optimizer",
    ]  # fmt: skip
    assert all(": set " in line for line in said[2:])


def test_what_is_said_is_enough() -> None:
    said = [
        "problem=segmentation", "data.form=masks", "teacher_cache=logits", "teacher.clean_view=whole",
        "student.clean_view=whole", "probe.optimizer=adamw", "probe.learning_rates=[0.001]",
        "student_probe.optimizer=adamw", "student_probe.learning_rates=[0.001]",
    ]  # fmt: skip
    assert load_experiment("small-cpu", said).problem == "segmentation"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": {"form": "folder"}}, "data.form 'folder' reads no masks: set data.form=masks"),
        ({"teacher_cache": "features"}, "keeps no maps, which are too large, and heads need them: set teacher_cache="),
        ({"teacher": {"clean_view": "center"}}, "teacher.clean_view 'center' may cut off the edges"),
        ({"student": {}}, "student.clean_view 'model' may cut off"),
        ({"more_teachers": [{"name": "vit"}]}, "more_teachers[0].clean_view 'model' may cut off"),
        ({"student_probe": {}}, "set student_probe.optimizer=adamw, student_probe.learning_rates=[0.001]"),
        ({"problem": "classification"}, "data.form 'masks' reads a class for each pixel, and problem 'classification'"),
    ],
)
def test_each_setting_that_does_not_fit_is_named(settings: dict[str, Any], words: str) -> None:
    said = refusal(**settings)
    assert words in said
    assert len(said.splitlines()) <= 3


FOREIGN = {"teacher_training": "foreign", "foreign_teacher": {"function": "nets:build", "pixels": "uint8"}}


def test_of_a_foreign_teacher_its_own_settings_count_and_those_of_the_teacher_it_replaces_do_not() -> None:
    assert validated(FITTING | FOREIGN | {"teacher": {}}, "streets.yaml")
    center = FOREIGN["foreign_teacher"] | {"clean_view": "center"}  # type: ignore[operator]
    assert "foreign_teacher.clean_view 'center'" in refusal(**FOREIGN | {"foreign_teacher": center})


def test_a_foreign_teacher_has_the_shape_of_the_views_too() -> None:
    wide = {"views": {"width_to_height": 2.0}, "student": {"clean_view": "whole", "input_width_px": 448}}
    assert "foreign_teacher sees pictures 224 px high and 224 px wide" in refusal(**FOREIGN | wide)
    teacher = FOREIGN["foreign_teacher"] | {"input_width_px": 448}  # type: ignore[operator]
    assert validated(FITTING | FOREIGN | wide | {"foreign_teacher": teacher}, "streets.yaml")
