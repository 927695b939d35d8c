"""What a run names over what it was served with."""

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind
from taskdistill.configs.merging import merged

FORM = Kind(Experiment)
SERVED = {
    "schema": 1,
    "name": "birds",
    "teacher": {"name": "vit", "arguments": {"depth": 4, "num_heads": 3}, "mean": [0.5, 0.5, 0.5]},
    "training": {"epochs": 3, "warmup": 0.2},
    "seeds": [0, 1, 2],
}


def test_a_setting_of_a_section_leaves_the_rest_of_the_section_and_all_other_sections():
    assert merged(SERVED, {"training": {"epochs": 5}}, FORM) == SERVED | {"training": {"epochs": 5, "warmup": 0.2}}


def test_nothing_named_changes_nothing_and_all_named_changes_all():
    assert merged(SERVED, {}, FORM) == SERVED
    assert merged({}, SERVED, FORM) == SERVED
    assert merged(SERVED, SERVED, FORM) == SERVED


def test_a_section_that_was_not_served_is_added():
    assert merged(SERVED, {"distill": {"alpha": 0.5}}, FORM) == SERVED | {"distill": {"alpha": 0.5}}


def test_lists_and_mappings_take_the_place_of_the_old_ones_as_a_whole():
    given = {"seeds": [7], "teacher": {"arguments": {"depth": 6}}}
    teacher = {"name": "vit", "arguments": {"depth": 6}, "mean": [0.5, 0.5, 0.5]}
    assert merged(SERVED, given, FORM) == SERVED | {"seeds": [7], "teacher": teacher}


def test_what_is_no_setting_is_kept_for_the_validation_to_name():
    assert merged(SERVED, {"nme": 1, "training": 5}, FORM) == SERVED | {"nme": 1, "training": 5}


def test_neither_side_is_changed():
    served, given = {"training": {"epochs": 3}}, {"training": {"warmup": 0.5}}
    merged(served, given, FORM)
    assert (served, given) == ({"training": {"epochs": 3}}, {"training": {"warmup": 0.5}})


def test_parts_that_are_valid_only_together_are_merged_before_they_are_judged():
    served = Experiment().model_dump(mode="json", by_alias=True)
    served = merged(served, {"data": {"form": "table", "table": "images.csv"}}, FORM)
    assert Experiment.model_validate(merged(served, {"data": {"table": "other.csv"}}, FORM)).data.table == "other.csv"
