"""Settings that some problems have and others refuse, before anything is imported."""

import pytest
from pydantic import ValidationError

from configs.experiment import Experiment
from configs.stages import DistillConfig, FinetuneConfig, ProbeConfig, ProbeImagesConfig, ProbeSettings
from configs.training import TrainingSettings
from configs.tuning import TuneDistillConfig, TuneFinetuneConfig

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
