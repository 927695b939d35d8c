"""What `plan` says of the disk that the presets of public datasets need, counted by hand."""

import pytest

from taskdistill.configs.loading import load_experiment
from taskdistill.tasks.problems.output_sizes import num_outputs
from taskdistill.tasks.sizes import Known, logits_of_images


@pytest.mark.parametrize(
    ("name", "num_classes", "splits", "num_bytes"),
    [
        # 4 views of each training image and one of the others, of 37 x 37 cells; 100 bytes say how a view was cut.
        ("ade20k", 150, {"train": 19_200, "val": 1010, "test": 2000}, 79_810 * (150 * 37 * 37 + 100)),
        ("voc", 21, {"train": 1449, "val": 1449, "test": 15}, 13_056 * (21 * 37 * 37 + 100)),
        ("cityscapes", 19, {"train": 2826, "val": 149, "test": 500}, 23_257 * (19 * 37 * 74 + 100)),
    ],
)
def test_the_logits_of_a_preset_take_a_byte_for_each_class_of_each_cell(
    name: str, num_classes: int, splits: dict[str, int], num_bytes: int
) -> None:
    experiment = load_experiment(name)
    teacher, views = experiment.teacher, experiment.train_views("teacher")
    config = experiment.precompute_probed_config(teacher, views, experiment.logits)
    numbers = num_outputs(experiment.problem, teacher, experiment.probe, num_classes)
    known = Known(splits, 0, splits["train"], num_classes, numbers, teacher)
    assert logits_of_images(config, known).num_bytes == num_bytes
    assert num_bytes < 17e9


@pytest.mark.parametrize("name", ["ade20k", "voc", "cityscapes"])
def test_students_learn_from_few_views_on_cells_that_fill_their_pictures(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.views.num_views <= 8
    assert {side % 14 for network in (experiment.teacher, experiment.student) for side in network.input_size} == {0}
