"""How many numbers a view's outputs are, as plan knows it without a network."""

import pytest

from taskdistill.configs import choices
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.problems.output_sizes import num_foreign_outputs, num_outputs, of_maps

LAST, LAST4 = ProbeSettings(inputs=("last",)), ProbeSettings(inputs=("last", "last4"))


def test_of_a_problem_with_one_vector_an_image_it_is_the_number_of_classes() -> None:
    assert num_outputs("classification", Backbone(), LAST, 150) == 150


@pytest.mark.parametrize(
    ("backbone", "probe", "cells"),
    [
        (Backbone(name="vit_large_patch14_dinov2.lvd142m", input_px=518), LAST, 37 * 37),
        (Backbone(name="vit_large_patch14_dinov2.lvd142m", input_px=518), LAST4, 37 * 37),
        (Backbone(name="vit_tiny_patch16_224", arguments={"patch_size": 8}, input_px=96), LAST, 12 * 12),
        (Backbone(name="test_vit", input_px=160), LAST, 10 * 10),
        (Backbone(name="mobilenetv2_100", input_px=480), LAST, 15 * 15),
        (Backbone(name="resnet50", arguments={"output_stride": 8}, input_px=512), LAST, 64 * 64),
        (Backbone(name="tf_efficientnet_lite1", input_px=480), LAST4, 120 * 120),
        (Backbone(name="mobilenetv2_100", input_px=500), LAST, 16 * 16),
    ],
)
def test_of_maps_it_is_the_classes_times_the_cells_of_the_finest_grid(
    backbone: Backbone, probe: ProbeSettings, cells: int
) -> None:
    assert of_maps(backbone, probe, 11) == 11 * cells


def test_a_problem_names_what_tells_it_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choices.OUTPUT_SIZES, "parts", "taskdistill.tasks.problems.output_sizes:of_maps")
    assert num_outputs("parts", Backbone(name="vit_small_patch14_dinov2", input_px=518), LAST, 150) == 150 * 1369


def test_of_a_network_made_elsewhere_it_is_known_where_its_stride_is_set() -> None:
    """At 360 x 480 px and a stride of 16 there are 23 x 30 cells; a vector an image has no cells."""
    teacher = ForeignTeacher(input_px=360, input_width_px=480, output_stride=16)
    assert num_foreign_outputs("segmentation", teacher, 11) == 11 * 23 * 30
    assert num_foreign_outputs("classification", teacher, 11) == 11
    as_it_comes = teacher.model_copy(update={"output_stride": 0})
    assert num_foreign_outputs("segmentation", as_it_comes, 11) is None
