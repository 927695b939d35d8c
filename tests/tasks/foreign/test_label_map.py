"""From a foreign network's classes to those of the task."""

import math

import pytest
import torch

from taskdistill.tasks.foreign.label_map import BELOW_ALL, label_map
from taskdistill.tasks.models.encoder import ModelError

OURS = ["road", "sky", "thing"]
THEIRS = ["asphalt", "sky", "car", "bus", "void"]
GIVEN = {"asphalt": "road", "1": "sky", "car": "thing", "bus": "thing"}


def test_many_classes_become_one_with_the_sum_of_their_probabilities() -> None:
    outputs_NF = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    logits_NK = label_map(GIVEN, THEIRS, 5, OURS)(outputs_NF)
    theirs = outputs_NF[:, :4].softmax(1)  # void is dropped, and the rest renormalised
    expected = torch.stack([theirs[:, 0], theirs[:, 1], theirs[:, 2] + theirs[:, 3]], dim=1)
    torch.testing.assert_close(logits_NK.softmax(1), expected)


def test_maps_are_joined_place_by_place() -> None:
    outputs = torch.randn(2, 5, 3, 4)
    found = label_map(GIVEN, THEIRS, 5, OURS)
    torch.testing.assert_close(found(outputs)[1, :, 2, 3], found(outputs[1:, :, 2, 3])[0])


def test_one_class_alone_keeps_its_logit_to_the_bit() -> None:
    outputs = torch.randn(2, 5)
    assert torch.equal(label_map(GIVEN, THEIRS, 5, OURS)(outputs)[:, 1], outputs[:, 1])


def test_a_class_that_nothing_becomes_is_said_and_has_a_finite_logit_far_below_the_others() -> None:
    found = label_map({"asphalt": "road", "sky": "sky"}, THEIRS, 5, OURS)
    logits = found(torch.tensor([[3.0, -2.0, 50.0, 50.0, 50.0]]))
    assert logits.tolist() == [[3.0, -2.0, -2.0 - BELOW_ALL]]
    assert math.exp(-BELOW_ALL) < 2e-7
    assert "no class of the foreign teacher becomes 'thing'" in found.said[0]
    assert "3 classes of the foreign teacher become none of the task's and are dropped: 'car', 'bus'" in found.said[1]


def test_without_a_map_classes_of_the_same_name_are_the_same() -> None:
    found = label_map({}, ["Sky", "traffic_light", "road"], 3, ["road", "sky", "traffic light"])
    assert found.members_K == ((2,), (0,), (1,))
    assert not found.said


def test_without_names_and_map_as_many_classes_are_taken_in_order() -> None:
    assert label_map({}, [], 3, OURS).members_K == ((0,), (1,), (2,))


@pytest.mark.parametrize(
    ("given", "names", "num_outputs", "message"),
    [
        ({}, [], 5, "5 outputs without names, and the task 3 classes"),
        ({}, THEIRS, 4, "4 outputs and 5 names"),
        ({}, ["a", "b"], 2, "no class of the foreign teacher has the name"),
        ({"7": "sky"}, [], 5, r"names \['7'\], which the foreign teacher does not have. It has 5 outputs"),
        ({"lorry": "thing"}, THEIRS, 5, r"names \['lorry'\]"),
        ({"car": "vehicle"}, THEIRS, 5, r"leads to \['vehicle'\], which are no classes of the task"),
        ({"car": "thing", "2": "sky"}, THEIRS, 5, "names an output twice"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_lists(
    given: dict[str, str], names: list[str], num_outputs: int, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        label_map(given, names, num_outputs, OURS)
    assert "The task's: road, sky, thing" in str(refused.value)
    assert ("Its classes: " if names else "Its classes have no names") in str(refused.value)
