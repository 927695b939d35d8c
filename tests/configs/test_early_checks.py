"""Settings that could only fail hours later, or do nothing in silence, are refused when they are read."""

from typing import Any

import pytest
from pydantic import ValidationError

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import SelectSettings
from taskdistill.configs.loading import validated
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings, check_synthetic_images_teach

BLENDS = {"synthetic_images": "blends", "generator": {"folder": "mixer"}}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        validated(values, "birds.yaml")
    return str(caught.value)


@pytest.mark.parametrize("section", ["training", "teacher_finetuning"])
@pytest.mark.parametrize("sizes", [{"batch_size": 1}, {"batch_size": 8, "accumulate": 8}])
def test_statistics_of_batchnorm_need_two_images_in_each_part(section: str, sizes: dict[str, int]):
    message = refusal({section: sizes | {"batchnorm": "train"}})
    assert f"{section}: batch_size {sizes['batch_size']} and accumulate" in message
    assert (
        "leave one image in each part of a batch, and batchnorm 'train' needs the statistics of at least two" in message
    )
    assert validated({section: sizes}, "x")
    assert validated({section: {"batch_size": 8, "accumulate": 4, "batchnorm": "train"}}, "x")


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_one_image_cannot_be_mixed_with_another(kind: str):
    assert f"and {kind} would mix it with itself" in refusal({"teacher_finetuning": {"batch_size": 1, kind: 0.2}})
    assert TrainingSettings(batch_size=2, mixup=0.2).mixup == 0.2
    assert TrainingSettings(batch_size=2, accumulate=2, mixup=0.2).mixup == 0.2  # mixed before it is cut


def test_one_view_in_a_batch_cannot_be_mixed_with_another():
    message = refusal({"training": {"batch_size": 1}, "distill": {"mix_views": "cutmix"}})
    assert "training.batch_size 1 leaves one image in a batch, and distill.mix_views 'cutmix' would mix it" in message
    assert validated({"training": {"batch_size": 1}, "distill": {"mix_beta": 0.5}}, "x")
    assert validated({"training": {"batch_size": 2}, "distill": {"mix_views": "cutmix"}}, "x")


def test_a_batch_smaller_than_its_parts_is_refused():
    assert "batch_size 4 cannot be cut into 8 equal parts" in refusal({"training": {"batch_size": 4, "accumulate": 8}})


def test_several_teachers_are_probed_ones():
    message = refusal({"more_teachers": [{"name": "vit"}], "teacher_training": "finetuned"})
    assert "more_teachers is for probed teachers, and teacher_training is 'finetuned': set it to 'probed'" in message


def test_the_same_teacher_twice_is_refused_by_both_its_names():
    vit, resnet = {"name": "vit"}, {"name": "resnet"}
    assert "more_teachers[1] is the same network as teacher" in refusal(
        {"teacher": vit, "more_teachers": [resnet, vit]}
    )
    assert "more_teachers[1] is the same network as more_teachers[0]" in refusal({"more_teachers": [resnet, resnet]})
    assert validated({"teacher": vit, "more_teachers": [{"name": "vit", "input_px": 98}]}, "x")


def test_more_teachers_than_can_be_joined_are_refused():
    assert validated({"more_teachers": [{"name": f"vit{number}"} for number in range(7)]}, "x")
    assert (
        "more_teachers has 9 entries, and at most 8 teachers are joined, the first among them: leave 2 out"
        in refusal({"more_teachers": [{"name": f"vit{number}"} for number in range(9)]})
    )


def test_networks_that_see_pictures_of_another_shape_than_the_views_are_refused_with_what_would_be_right():
    wide = {"input_px": 364, "input_width_px": 728}
    message = refusal({"teacher": wide, "views": {"width_to_height": 2}})
    assert (
        "student sees pictures 224 px high and 224 px wide, 1 times as wide as high, but views are 2 times" in message
    )
    assert message.endswith("for all networks: set student.input_width_px to 448 (from 440 to 456)")
    both = {"teacher": wide, "student": {"input_px": 224, "input_width_px": 448}}
    message = refusal(both)
    assert (
        "teacher sees pictures 364 px high and 728 px wide, 2 times as wide as high, but views are 1 times" in message
    )
    assert message.endswith(
        "set views.width_to_height to 2, which all networks have, or set teacher.input_width_px to 0"
    )
    assert validated(both | {"views": {"width_to_height": 2}}, "x")


def test_sides_that_are_multiples_of_patches_need_not_have_the_very_ratio_of_the_views():
    networks = {
        "teacher": {"input_px": 364, "input_width_px": 490},  # 1.346, patches of 14
        "student": {"input_px": 352, "input_width_px": 472},  # 1.341
    }
    assert validated(networks | {"views": {"width_to_height": 1.333}}, "x")
    networks["student"]["input_width_px"] = 480  # 1.364
    assert "student.input_width_px to 469" in refusal(networks | {"views": {"width_to_height": 1.333}})


def test_a_square_is_said_in_one_way():
    assert "student: input_width_px is 224 as input_px is, which is a square: set it to 0" in refusal(
        {"student": {"input_width_px": 224}}
    )
    assert "teacher: input_width_px is 8: it must be 0 (a square) or 16 to 4096" in refusal(
        {"teacher": {"input_width_px": 8}}
    )


def test_scales_that_are_no_range_are_refused():
    assert "views: min_scale 0.5 is above max_scale 0.2" in refusal({"views": {"max_scale": 0.2}})


def test_a_stage_of_its_own_checks_the_shape_of_its_network_too():
    with pytest.raises(ValidationError, match="backbone sees pictures 224 px high and 448 px wide"):
        FinetuneConfig(backbone=Backbone(input_width_px=448))


@pytest.mark.parametrize("seed", [-1, 2**63])
@pytest.mark.parametrize("section", ["views", "probe", "student_probe", "blends", "teacher", "student"])
def test_a_seed_that_no_generator_of_numbers_takes_is_refused(section: str, seed: int):
    assert f"{section}.seed: expected a whole number from 0 to 9223372036854775807" in refusal(
        {section: {"seed": seed}}
    )
    assert validated({section: {"seed": 2**63 - 1}}, "x")


@pytest.mark.parametrize("rate", [0, -0.1])
def test_a_probe_that_would_learn_nothing_or_backwards_is_refused(rate: float):
    assert "probe.learning_rates, entry 2: expected a number above 0" in refusal(
        {"probe": {"learning_rates": [1, rate]}}
    )


def test_a_mean_in_levels_of_0_to_255_and_a_deviation_of_nothing_are_refused():
    assert "teacher.mean, entry 1: expected a number from 0 to 1, found 123.7" in refusal(
        {"teacher": {"mean": [123.7, 0.5, 0.5]}}
    )
    assert "student.std, entry 3: expected a number above 0 and at most 1, found 0" in refusal(
        {"student": {"std": [0.5, 0.5, 0]}}
    )
    assert Backbone(mean=(0, 0, 0), std=(1, 1, 1)).std == (1, 1, 1)


@pytest.mark.parametrize("temperature", [1e-30, 1e20])
def test_a_temperature_that_makes_numbers_overflow_is_refused(temperature: float):
    assert "distill.temperature: expected a number from 0.001 to 10000" in refusal(
        {"distill": {"temperature": temperature}}
    )


def test_blends_that_no_batch_would_hold_are_refused_before_they_are_painted():
    # 32 * 0.01 is 0.32 images, rounded to none; 32 * 0.02 is 0.64, one.
    assert "distill.synthetic_ratio 0.01 gives no synthetic image to a batch of training.batch_size 32" in refusal(
        BLENDS | {"distill": {"synthetic_ratio": 0.01}}
    )
    assert "synthetic_ratio 0 gives no synthetic image" in refusal(BLENDS | {"distill": {"synthetic_ratio": 0}})
    assert validated(BLENDS | {"distill": {"synthetic_ratio": 0.02}}, "x").distill.num_synthetic(32) == 1
    assert validated({"distill": {"synthetic_ratio": 0}}, "x")


def test_blends_that_nobody_would_teach_are_refused_before_they_are_painted():
    assert "distill.alpha is 0, so that labels alone teach" in refusal(BLENDS | {"distill": {"alpha": 0}})
    assert validated({"distill": {"alpha": 0}}, "x")
    with pytest.raises(SettingsError, match="synthetic images have none"):
        check_synthetic_images_teach(DistillSettings(alpha=0), TrainingSettings())


def test_likeness_is_known_of_blends_alone():
    SelectSettings(drop=("uncertain",)).check_is_known("image-set@1234")
    with pytest.raises(SettingsError, match=r"select\.drop names parent-copy, but image-set@1234 was not made by"):
        SelectSettings(drop=("parent-copy", "uncertain")).check_is_known("image-set@1234")


@pytest.mark.parametrize("section", ["probe", "student_probe"])
def test_folds_without_cached_features_are_refused_before_anything_runs(section: str):
    message = refusal({"teacher_cache": "logits", section: {"folds": 5}})
    assert f"{section}.folds is 5, and heads that leave out a fold are trained on cached features alone" in message
    assert f"set teacher_cache to 'features', or {section}.folds to 0" in message
    assert validated({section: {"folds": 5}}, "x")


@pytest.mark.parametrize(("folds", "expected"), [(1, "one fold would be all images"), (21, "from 0 to 20, found 21")])
def test_a_number_of_folds_that_leaves_nothing_or_is_too_large_is_refused(folds: int, expected: str):
    assert expected in refusal({"probe": {"folds": folds}})


def test_logits_out_of_fold_need_folds():
    assert "probe.folds is 0: set probe.folds to 2 or more" in refusal({"teacher_logits": "out-of-fold"})
    assert validated({"teacher_logits": "out-of-fold", "probe": {"folds": 2}}, "x")


@pytest.mark.parametrize("route", [{"teacher_training": "finetuned"}, {"teacher_cache": "logits"}])
@pytest.mark.parametrize("asked", [{"teacher_logits": "out-of-fold"}, {"teacher_calibration": "temperature"}])
def test_what_needs_the_cached_features_of_a_probed_teacher_is_refused_for_others(
    route: dict[str, str], asked: dict[str, str]
):
    assert "is for a probed teacher whose features are cached: set teacher_training to 'probed'" in refusal(
        route | asked
    )


def test_the_shipped_defaults_pass():
    assert Experiment() == validated({}, "x")
