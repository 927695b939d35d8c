"""Settings that some problems have and others refuse, before anything is imported."""

import pytest
from pydantic import ValidationError

from taskdistill.configs.choices import PROBLEMS
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.problem_options import OPTIONS, Options
from taskdistill.configs.stages import DistillConfig, FinetuneConfig, ProbeConfig, ProbeImagesConfig, ProbeSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig
from taskdistill.tasks.problems.problem import problem_named

FCN = ProbeSettings(head="fcn", optimizer="adamw")
WITH_MASKS = {
    "data": {"form": "masks"},
    "teacher_cache": "logits",
    "teacher": {"clean_view": "whole"},
    "student": {"clean_view": "whole"},
    "probe": {"optimizer": "adamw"},
    "student_probe": {"optimizer": "adamw"},
}
"""What an experiment needs where each pixel has a class (configs.whole_images)."""
DICE, WEIGHTED = TrainingSettings(loss="cross-entropy+dice"), TrainingSettings(class_weights="inverse-frequency")


@pytest.mark.parametrize(
    ("form", "settings", "words"),
    [
        (ProbeConfig, {"probe": FCN}, "probe.head is 'fcn', which the problem 'classification' does not have"),
        (ProbeImagesConfig, {"probe": FCN}, "probe.head is 'fcn'.*set it to 'linear'"),
        (FinetuneConfig, {"training": DICE}, "training.loss is 'cross-entropy.dice'.*set it to 'cross-entropy'"),
        (DistillConfig, {"training": WEIGHTED}, "training.class_weights is 'inverse-frequency'.*set it to 'none'"),
        (TuneFinetuneConfig, {"training": DICE}, "training.loss"),
        (TuneDistillConfig, {"training": DICE}, "training.loss"),
        (Experiment, {"student_probe": FCN}, "student_probe.head is 'fcn'"),
        (Experiment, {"training": WEIGHTED}, "training.class_weights"),
    ],
)
def test_a_problem_refuses_what_it_does_not_have(form: type, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        form(**settings)
    others = {} if form is not Experiment else WITH_MASKS
    form(problem="segmentation", **others | settings)


MEAN = ProbeSettings(inputs=("last", "last4+mean"), optimizer="adamw")


@pytest.mark.parametrize(
    ("form", "settings", "place"),
    [
        (ProbeConfig, {"probe": MEAN}, "probe"),
        (ProbeImagesConfig, {"probe": MEAN}, "probe"),
        (Experiment, WITH_MASKS | {"student_probe": MEAN}, "student_probe"),
    ],
)
def test_maps_have_no_mean_of_tokens_beside_them(form: type, settings: dict[str, object], place: str) -> None:
    words = rf"{place}\.inputs is 'last4\+mean', which the problem 'segmentation' does not have: set it to 'last' or"
    with pytest.raises(ValidationError, match=words):
        form(problem="segmentation", **settings)
    ProbeConfig(probe=MEAN)


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_a_head_may_see_is_what_the_problem_says(name: str) -> None:
    assert list(OPTIONS.get(name, Options()).inputs) == list(problem_named(name).inputs())
